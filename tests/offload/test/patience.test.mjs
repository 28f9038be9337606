// @ts-check
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { httpWaits } from '../measure/patience.mjs';

const loaded = (/** @type {string} */ name, /** @type {number} */ atMs, /** @type {number} */ durationMs, fromOrigin = 1) => ({
  type: 'segment-loaded',
  atMs,
  detail: { url: `http://127.0.0.1:1/vod/${name}?viewer=v1`, durationMs, fromOrigin },
});
const fetched = (/** @type {string} */ name, /** @type {number} */ atMs) => ({ type: 'fetched', atMs, detail: { name: `/vod/${name}` } });

test('the wait is from the request for a segment to the first HTTP request for it', () => {
  const diagnosis = [loaded('a', 5000, 3000), fetched('a', 4500), fetched('a', 3500), fetched('b', 2500)];
  assert.deepEqual(httpWaits(diagnosis), [1500]);
});

test('what came from peers alone, or was asked for before, says nothing', () => {
  assert.deepEqual(httpWaits([loaded('a', 5000, 3000, 0), fetched('a', 3000)]), []);
  assert.deepEqual(httpWaits([loaded('a', 5000, 3000), fetched('a', 1000)]), []);
});

test('two clocks that differ a little make no negative wait', () => {
  assert.deepEqual(httpWaits([loaded('a', 5000, 3000), fetched('a', 1990)]), [0]);
});
