import { describe, expect, test } from 'vitest';
import { fileName, formatBytes, formatClock, formatCount, formatMs, formatPercent, formatRate, formatTick, UNKNOWN } from './format.ts';

const plain = (text: string): string => text.replaceAll('\u00a0', ' ');

describe('figures', () => {
  test.each([
    [0, '0 B'],
    [812, '812 B'],
    [999.4, '999 B'],
    [999.6, '1.00 kB'],
    [12_345, '12.3 kB'],
    [1_240_000, '1.24 MB'],
    [999_999, '1.00 MB'],
    [38_200_000, '38.2 MB'],
    [412_000_000_000, '412 GB'],
    [5e18, '5000000 TB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(plain(formatBytes(bytes))).toBe(text);
  });

  test('a rate in bytes per second is shown in bits per second', () => {
    expect(plain(formatRate(155_000))).toBe('1.24 Mbit/s');
    expect(plain(formatRate(0))).toBe('0 bit/s');
  });

  test('an axis label has no digits that say nothing', () => {
    expect([0, 500_000, 2_500_000, 10e6, 20e6, 100e6].map((bps) => plain(formatTick(bps)))).toEqual([
      '0 bit/s',
      '500 kbit/s',
      '2.5 Mbit/s',
      '10 Mbit/s',
      '20 Mbit/s',
      '100 Mbit/s',
    ]);
  });

  test('what is no figure is shown as unknown', () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
      expect([formatBytes(value), formatRate(value), formatMs(value)]).toEqual([UNKNOWN, UNKNOWN, UNKNOWN]);
    }
    expect(formatPercent(Number.NaN)).toBe(UNKNOWN);
  });

  test('a percentage never rounds to all or to nothing', () => {
    expect([0, 0.001, 0.734, 0.999, 1].map((share) => plain(formatPercent(share)))).toEqual(['0 %', '<1 %', '73 %', '99 %', '100 %']);
  });

  test.each([
    [0, '0 ms'],
    [12.4, '12 ms'],
    [999.7, '1.00 s'],
    [9996, '10.0 s'],
    [59_960, '1 min 00 s'],
    [125_000, '2 min 05 s'],
  ])('%d ms are %s', (ms, text) => {
    expect(plain(formatMs(ms))).toBe(text);
  });

  test('the clock shows tenths since the page was opened', () => {
    expect([0, 7340, 65_999].map(formatClock)).toEqual(['0:00.0', '0:07.3', '1:05.9']);
  });

  test('a count agrees with its noun', () => {
    expect([0, 1, 1204].map((count) => plain(formatCount(count, 'group')))).toEqual(['0 groups', '1 group', '1,204 groups']);
  });
});

test('a file name has neither host nor query', () => {
  expect(fileName('https://cdn.example/a/seg_1.m4s?token=secret')).toBe('seg_1.m4s');
  expect(fileName('https://cdn.example/a/')).toBe('https://cdn.example/a/');
});
