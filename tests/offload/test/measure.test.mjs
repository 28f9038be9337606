// @ts-check
/** What is read from /proc, and the origin's peak. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { busySeconds, processSeconds, threadName } from '../measure/cpu.mjs';
import { PeakRate } from '../measure/rate.mjs';

test('fields of a process are counted from behind its name', () => {
  const stat = '42 (name (with) brackets) S 1 2 3 0 -1 4 5 0 0 0 250 50 0 0 20 0 1 0 99';
  assert.equal(processSeconds(stat, 100), 3);
  assert.equal(threadName(stat), 'name (with) brackets');
});

test('idle time and waiting for disks are not busy', () => {
  assert.equal(busySeconds('cpu  100 20 30 9000 800 5 5 40 0 0\ncpu0 1 2 3', 100), 2);
});

test('the peak is that of the busiest second, wherever it begins', () => {
  const peak = new PeakRate();
  for (const [bytes, atMs] of [[100, 0], [200, 900], [300, 1500], [50, 5000]]) peak.add(bytes, atMs);
  assert.equal(peak.peakBytes, 500);
});
