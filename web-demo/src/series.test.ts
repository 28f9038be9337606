import { describe, expect, test } from 'vitest';
import { BIN_MS, MAX_BINS, niceCeiling, RateSeries } from './series.ts';

const totals = (originBytes: number, peerBytes = 0, uploadBytes = 0) => ({ originBytes, peerBytes, uploadBytes });

describe('the rate series', () => {
  test('turns totals into bytes per second', () => {
    const series = new RateSeries();
    series.push(totals(100, 10, 1), 5000);
    series.push(totals(2100, 4010, 501), 7000);
    expect(series.bins).toEqual(Array(2).fill({ origin: 1000, peers: 2000, upload: 250 }));
  });

  test('never holds more bins than its capacity, however long the page is open', () => {
    const series = new RateSeries();
    for (let second = 0; second < 10 * MAX_BINS; second += 1) series.push(totals(second * 1000), second * BIN_MS);
    expect(series.bins).toHaveLength(MAX_BINS);
  });

  test('never holds more bins than its capacity after a day asleep', () => {
    const series = new RateSeries();
    series.push(totals(0), 0);
    series.push(totals(1e9), 86_400_000);
    expect(series.bins).toHaveLength(MAX_BINS);
  });

  test('a late sample fills the seconds that were missed and keeps the sum', () => {
    const series = new RateSeries();
    series.push(totals(0), 0);
    series.push(totals(9000), 3 * BIN_MS);
    expect(series.bins.map((bin) => bin.origin)).toEqual([3000, 3000, 3000]);
  });

  test('a sample that comes too soon is left for the next', () => {
    const series = new RateSeries();
    series.push(totals(0), 0);
    series.push(totals(400), 100);
    expect(series.bins).toHaveLength(0);
    series.push(totals(1000), BIN_MS);
    expect(series.bins.map((bin) => bin.origin)).toEqual([1000]);
  });

  test('totals that fell back count as nothing', () => {
    const series = new RateSeries();
    series.push(totals(5000), 0);
    series.push(totals(100), BIN_MS);
    expect(series.bins.map((bin) => bin.origin)).toEqual([0]);
  });
});

test('a nice ceiling is the next 1, 2 or 5 times a power of ten', () => {
  expect([0, 1, 1.01, 3, 7, 20, 999].map((value) => niceCeiling(value, 1))).toEqual([1, 1, 2, 5, 10, 20, 1000]);
  expect(niceCeiling(3, 250)).toBe(500);
});
