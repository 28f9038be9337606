import { describe, expect, test } from 'vitest';
import { bufferedAhead, type MeteredEvent, offloadOf, playableAhead, playedSeconds, StallMeter } from './playback.ts';

function meterAfter(events: readonly (readonly [MeteredEvent, number])[], autoplay = true): StallMeter {
  const meter = new StallMeter(1000, autoplay);
  for (const [event, atMs] of events) meter.handle(event, atMs, 0);
  return meter;
}

const ranges = (...spans: readonly (readonly [number, number])[]) => ({
  length: spans.length,
  start: (i: number) => spans[i]?.[0] ?? Number.NaN,
  end: (i: number) => spans[i]?.[1] ?? Number.NaN,
});

describe('the stall meter', () => {
  test('waiting before the first frame is the start, not a stall', () => {
    const meter = meterAfter([['play', 1200], ['waiting', 1300], ['playing', 1800]]);
    expect([meter.startMs, meter.stalls]).toEqual([800, 0]);
  });

  test('without autoplay the start counts from the press on play', () => {
    expect(meterAfter([['play', 9000], ['playing', 9300]], false).startMs).toBe(300);
  });

  test('waiting until playing again is one stall with its time', () => {
    const meter = meterAfter([['playing', 2000], ['waiting', 5000], ['waiting', 5100], ['playing', 5750], ['waiting', 9000], ['playing', 9250]]);
    expect([meter.stalls, meter.stalledMs(20_000)]).toEqual([2, 1000]);
  });

  test('a stall that is on counts up to now', () => {
    const meter = meterAfter([['playing', 2000], ['waiting', 5000]]);
    expect([meter.stalls, meter.stalledMs(5400)]).toEqual([1, 400]);
  });

  test('waiting for a seek is no stall', () => {
    const meter = meterAfter([['playing', 2000], ['seeking', 5000], ['waiting', 5001], ['playing', 6000]]);
    expect([meter.stalls, meter.stalledMs(7000)]).toEqual([0, 0]);
  });

  test('waiting with data at hand is a hitch, with its time, and no stall', () => {
    const meter = new StallMeter(0, true);
    meter.handle('playing', 1000, 4);
    meter.handle('waiting', 2000, 0.5);
    meter.handle('playing', 2200, 4);
    meter.handle('waiting', 3000, 0.4);
    expect([meter.stalls, meter.stalledMs(3100)]).toEqual([1, 100]);
    expect([meter.hitches, meter.hitchedMs(3100)]).toEqual([1, 200]);
    meter.handle('playing', 3200, 4);
    meter.handle('waiting', 4000, 4);
    expect([meter.stalls, meter.stalledMs(4050)]).toEqual([1, 200]);
    expect([meter.hitches, meter.hitchedMs(4050)]).toEqual([2, 250]);
  });

  test('a seek out of a stall ends its time', () => {
    const meter = meterAfter([['playing', 2000], ['waiting', 5000], ['seeking', 5500], ['playing', 8000]]);
    expect([meter.stalls, meter.stalledMs(9000)]).toEqual([1, 500]);
  });

  test('the end of the stream ends a stall', () => {
    expect(meterAfter([['playing', 2000], ['waiting', 5000], ['ended', 5050]]).stalledMs(60_000)).toBe(50);
  });
});

test('played seconds are the sum of the ranges', () => {
  expect(playedSeconds(ranges())).toBe(0);
  expect(playedSeconds(ranges([0, 10], [20, 25.5]))).toBe(15.5);
});

test('the buffer ahead is what follows the position without a gap', () => {
  const buffered = ranges([0, 12], [20, 30]);
  expect([0, 4, 12, 15, 19.95, 30].map((at) => Math.round(bufferedAhead(buffered, at)))).toEqual([12, 8, 0, 0, 10, 0]);
});

test('what is buffered to the end is enough to play on with', () => {
  const media = (currentTime: number) => ({ buffered: ranges([0, 9.8]), currentTime, duration: 10 });
  expect([0, 9.7].map((at) => playableAhead(media(at)))).toEqual([Infinity, Infinity]);
  expect(playableAhead({ ...media(8), duration: 60 })).toBeCloseTo(1.8);
});

test('the offload is the share of the downloaded bytes, and 0 before the first', () => {
  expect([offloadOf(0, 0), offloadOf(100, 0), offloadOf(25, 75)]).toEqual([0, 0, 0.75]);
});
