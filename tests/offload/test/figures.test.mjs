// @ts-check
/** The arithmetic of the figures. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ceilingOf, offloadOf } from '../../browser/harness/offload.mjs';
import { figuresOf, median, medianFigures, wasteOf } from '../measure/figures.mjs';

/** @typedef {import('../measure/figures.mjs').Viewer} Viewer */

const CPU = { rendererSeconds: 12, decoderSeconds: 3, browserSeconds: 18, otherCores: 0.5, cores: 2 };
const NO_TRAFFIC = { payload: 0, other: 0, socket: 0 };

/** Segments of 100 bytes. @param {readonly number[]} numbers */
const segments = (...numbers) => numbers.map((number) => ({ path: `/segment-${number}`, level: 0, bytes: 100 }));

/** @param {Partial<Viewer>} differences @returns {Viewer} */
function viewer(differences) {
  return {
    name: 'v1',
    leaves: false,
    ended: true,
    startMs: 100,
    stalls: 0,
    stallSeconds: 0,
    hitches: 0,
    hitchSeconds: 0,
    playedSeconds: 60,
    skippedSeconds: 0,
    shown: segments(1, 2),
    latencies: [],
    segments: 2,
    wrong: 0,
    segmentBytes: 200,
    otherBytes: 10,
    traffic: { received: NO_TRAFFIC, sent: NO_TRAFFIC },
    fatal: [],
    ...differences,
  };
}

/** @param {Partial<import('../measure/figures.mjs').Counts>} differences */
const counts = (differences) => ({ viewers: [viewer({})], serviceBytes: 0, originPeakBytes: 0, cpu: CPU, tabs: 1, ...differences });

test('offload is what was played and did not leave the origin', () => {
  assert.equal(offloadOf(25, 100), 0.75);
  assert.equal(offloadOf(150, 100), -0.5, 'more left than was played');
  assert.equal(offloadOf(100, 0), 0);
});

test('at the ceiling each segment leaves the origin once, and the first of each viewer', () => {
  assert.equal(ceilingOf(20, [5, 5, 10], 160), 0.75);
});

test('a switch is a change of the level on the screen', () => {
  const shown = [0, 0, 1, 1, 0].map((level, number) => ({ path: `/${number}`, level, bytes: 100 }));
  assert.equal(figuresOf(counts({ viewers: [viewer({ shown }), viewer({})] })).switches, 2);
});

test('waste is what came and was not played', () => {
  assert.equal(wasteOf(125, 100), 0.25);
  assert.equal(wasteOf(100, 100), 0);
  assert.equal(wasteOf(100, 0), 0);
});

test('the median of an even number of values lies between the middle two', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([]), null);
});

test('a segment that two viewers saw is distinct once and played twice', () => {
  const figures = figuresOf(counts({ viewers: [viewer({}), viewer({ shown: segments(2, 3), segmentBytes: 0 })] }));
  assert.equal(figures.playedBytes, 400);
  assert.equal(figures.ceiling, 1 - (300 + 200) / 400);
  assert.equal(figures.offload, 0.5);
});

test("the service's own fetches leave the origin too, and no viewer can spare it those", () => {
  const alone = figuresOf(counts({}));
  const attested = figuresOf(counts({ serviceBytes: 100 }));
  assert.equal(attested.offload, -0.5);
  assert.ok(attested.ceiling < alone.ceiling);
});

test('what peers brought for nothing is waste', () => {
  const traffic = { received: { ...NO_TRAFFIC, payload: 50 }, sent: NO_TRAFFIC };
  assert.equal(figuresOf(counts({ viewers: [viewer({ traffic })] })).waste, 0.25);
});

test('CPU is counted for a minute of picture in each tab, those of ill will among them', () => {
  const two = [viewer({}), viewer({})];
  const figures = figuresOf(counts({ viewers: two, tabs: 3 }));
  assert.equal(figures.rendererCpuPerMinute, 4);
  assert.equal(figures.browserCpuPerMinute, 6);
  assert.equal(figures.rendererCpuPerDecoding, 4);
  const stalled = viewer({ playedSeconds: 30, stalls: 1, stallSeconds: 30 });
  const late = figuresOf(counts({ viewers: [stalled, stalled], tabs: 3 }));
  assert.equal(late.rendererCpuPerMinute, 8, 'standing still is not watching');
});

test('who leaves is not expected to see the end', () => {
  const figures = figuresOf(counts({ viewers: [viewer({}), viewer({ leaves: true, ended: false })] }));
  assert.deepEqual([figures.ended, figures.stayed], [1, 1]);
});

test('a viewer without a frame has no start', () => {
  const figures = figuresOf(counts({ viewers: [viewer({ startMs: null }), viewer({ startMs: 300 })] }));
  assert.deepEqual([figures.startMedianMs, figures.startMaxMs], [300, 300]);
});

test('figures of several runs are the median of each', () => {
  const runs = [0, 100, 20].map((segmentBytes) => figuresOf(counts({ viewers: [viewer({ segmentBytes })] })));
  const figures = medianFigures(runs);
  assert.equal(figures.offload, 0.9);
  assert.equal(figures.liveLatencySeconds, null);
});
