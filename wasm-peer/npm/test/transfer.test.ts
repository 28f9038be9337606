import { describe, expect, test } from 'vitest';
import { Throughput, Transfer } from '../src/transfer.js';

const MIB = 1024 * 1024;

/** `bytes` in ten chunks, `everyMs` apart, the first at `fromMs`. */
function receive(transfer: Transfer, bytes: number, fromMs: number, everyMs: number): void {
  for (let chunk = 0; chunk < 10; chunk += 1) transfer.received(bytes / 10, fromMs + chunk * everyMs);
}

describe('the rate of a transfer', () => {
  test('from the origin counts from the first byte to the last, slow chunks and all', () => {
    const transfer = new Transfer();
    transfer.originStarted(1000);
    transfer.originAnswered(1400);
    receive(transfer, MIB, 1900, 500);
    transfer.originEnded(6400);
    expect(transfer.firstByteMs).toBe(400);
    expect(transfer.activeMs).toBe(5000);
    expect(transfer.bytesPerMs).toBeCloseTo(MIB / 5000);
  });

  test('from peers leaves out the time in which nobody was asked', () => {
    const transfer = new Transfer();
    receive(transfer, MIB, 1000, 10);
    receive(transfer, MIB, 9000, 10);
    expect(transfer.activeMs).toBe(180);
    expect(transfer.bytesPerMs).toBeCloseTo((2 * MIB) / 180);
  });

  test('of peers and origin at once is that of both', () => {
    const transfer = new Transfer();
    receive(transfer, MIB, 0, 100);
    transfer.originStarted(900);
    transfer.received(1000, 950);
    transfer.originAnswered(1000);
    receive(transfer, MIB, 1050, 100);
    transfer.originEnded(2000);
    expect(transfer.activeMs).toBe(2000);
  });

  test('is not known from a few bytes', () => {
    const transfer = new Transfer();
    transfer.received(16_383, 0);
    expect(transfer.bytesPerMs).toBeUndefined();
    transfer.received(1, 0);
    expect(transfer.bytesPerMs).toBeDefined();
  });
});

describe('the rate over transfers', () => {
  const transferAt = (bytesPerMs: number, ms: number) => {
    const transfer = new Transfer();
    transfer.originStarted(0);
    transfer.originAnswered(0);
    transfer.received(bytesPerMs * ms, ms);
    transfer.originEnded(ms);
    return transfer;
  };

  test('is not known before the first, then that one’s', () => {
    const throughput = new Throughput();
    expect(throughput.bytesPerMs).toBeUndefined();
    throughput.add(transferAt(500, 1000));
    expect(throughput.bytesPerMs).toBeCloseTo(500);
  });

  test('moves by how long a transfer took, not by how fast it was', () => {
    const throughput = new Throughput();
    throughput.add(transferAt(100, 8000));
    throughput.add(transferAt(10_000, 10));
    expect(throughput.bytesPerMs).toBeLessThan(200);
    throughput.add(transferAt(1000, 8000));
    expect(throughput.bytesPerMs).toBeGreaterThan(700);
  });
});
