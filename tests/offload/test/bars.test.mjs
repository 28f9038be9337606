// @ts-check
/** Whether what is to be reached was. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barsOf, barsTable } from '../bars.mjs';

/** @param {string} scenario @param {string} plugin @param {object} figures */
const row = (scenario, plugin, figures) => /** @type {any} */ ({ scenario, plugin, runs: 1, figures });

const OURS = { offload: 0.83, ceiling: 0.838, stalls: 0, startMedianMs: 300, rendererCpuPerDecoding: 4 };

test('a bar is met up to its limit and not beyond', () => {
  const met = (/** @type {object} */ figures, /** @type {string} */ what) =>
    barsOf([row('spaced', 'tabswarm', { ...OURS, ...figures })]).find((bar) => bar.what === what)?.met;
  const offload = 'offload, at most a point below the ceiling';
  assert.deepEqual([met({ offload: 0.829 }, offload), met({ offload: 0.827 }, offload)], [true, false]);
  assert.deepEqual([met({}, 'stalls'), met({ stalls: 1 }, 'stalls')], [true, false]);
});

test('what is measured beside a rival is said only where the rival was measured', () => {
  const tuned = row('spaced', 'p2pml-tuned', { ...OURS, rendererCpuPerDecoding: 3.9 });
  const cpu = (/** @type {any[]} */ rows) => barsOf(rows).find(({ what }) => what.startsWith('CPU'));
  assert.equal(cpu([row('spaced', 'tabswarm', OURS)]), undefined);
  assert.equal(cpu([row('spaced', 'tabswarm', OURS), tuned])?.met, false);
  assert.match(barsTable([row('spaced', 'tabswarm', OURS), tuned]), /\| 4 \| ≤ 3\.9 \| \*\*no\*\* \|/);
});
