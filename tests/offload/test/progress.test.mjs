// @ts-check
/** What counts as played and as skipped. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Progress } from '../page/progress.js';

test('a position that moves with the clock plays', () => {
  const progress = new Progress(10, 0);
  for (const at of [250, 500, 750, 1000]) progress.look(10 + at / 1000, at);
  assert.equal(progress.playedSeconds, 1);
  assert.equal(progress.skippedSeconds, 0);
});

test('a jump forward skips', () => {
  const progress = new Progress(0, 0);
  progress.look(0.25, 250);
  progress.look(8.25, 500);
  assert.equal(progress.playedSeconds, 0.25);
  assert.equal(progress.skippedSeconds, 8);
});

test('a player that begins anew and comes back to where it was skips nothing', () => {
  const progress = new Progress(0, 0);
  progress.look(0.25, 250);
  progress.look(0, 500);
  progress.look(0.25, 10_000);
  progress.look(0.5, 10_250);
  assert.equal(progress.skippedSeconds, 0);
});

test('a position that stands is known by when it last moved', () => {
  const progress = new Progress(0, 0);
  assert.equal(progress.look(0.25, 250), true);
  assert.equal(progress.look(0.25, 500), false);
  assert.equal(progress.movedMs, 250);
});
