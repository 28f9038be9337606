// @ts-check
/** The line of the origin that all requests share. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Cap } from '../../browser/harness/cap.mjs';

/** A clock that moves when somebody waits. */
function manualClock() {
  const clock = {
    ms: 0,
    /** @type {number[]} */
    waits: [],
    now: () => clock.ms,
    wait: async (/** @type {number} */ ms) => void clock.waits.push(ms),
  };
  return clock;
}

test('pieces asked for at once pass one after the other', async () => {
  const clock = manualClock();
  const cap = new Cap(1000, clock);
  await Promise.all([cap.take(100), cap.take(100), cap.take(300)]);
  assert.deepEqual(clock.waits, [100, 200, 500]);
});

test('a line that was idle owes nothing', async () => {
  const clock = manualClock();
  const cap = new Cap(1000, clock);
  await cap.take(100);
  clock.ms = 5000;
  await cap.take(100);
  assert.deepEqual(clock.waits, [100, 100]);
});

test('a late waiter does not slow the line', async () => {
  const clock = manualClock();
  const cap = new Cap(1000, clock);
  await cap.take(100);
  clock.ms = 90;
  await cap.take(100);
  assert.deepEqual(clock.waits, [100, 110]);
});
