// @ts-check
/** Which runs a command makes, and what its table looks like. */

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { planOf } from '../plan.mjs';
import { SavedRuns } from '../saved.mjs';
import { SCENARIOS } from '../scenarios.mjs';
import { replaceBetweenMarkers } from '../table.mjs';

const NONE = { scenarios: [], plugins: [] };

test('the full plan has every scenario, three times but for the defaults of p2p-media-loader', () => {
  const plan = planOf({ full: true, ...NONE });
  assert.deepEqual(new Set(plan.map(({ scenario }) => scenario)), new Set(Object.keys(SCENARIOS)));
  for (const { plugin, times } of plan) assert.equal(times, plugin === 'p2pml' ? 1 : 3, plugin);
});

test('the quick plan runs ours, once', () => {
  for (const { plugin, times } of planOf({ full: false, ...NONE })) {
    assert.ok(plugin === 'plain' || plugin === 'tabswarm');
    assert.equal(times, 1);
  }
});

test('what is named is run, once, whether a plan has it or not', () => {
  const plan = planOf({ full: false, scenarios: ['corrupt'], plugins: ['plain', 'tabswarm-economy'] });
  assert.deepEqual(plan, [
    { scenario: 'corrupt', plugin: 'plain', times: 1 },
    { scenario: 'corrupt', plugin: 'tabswarm-economy', times: 1 },
  ]);
});

test('a saved run is found again unless it was made of something else', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'tabswarm-bench-test-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const saved = new SavedRuns(dir);
  /** @type {import('../plan.mjs').Entry} */
  const entry = { scenario: 'spaced', plugin: 'tabswarm', times: 1 };
  const made = { plugin: 'tabswarm 1' };
  const run = /** @type {any} */ ({ made, figures: { offload: 0.5 } });
  assert.equal(saved.find(entry, 1, made), undefined);
  saved.save(entry, 1, run);
  assert.deepEqual(saved.find(entry, 1, made), run);
  assert.equal(saved.find(entry, 1, { plugin: 'tabswarm 2' }), undefined);
  assert.equal(saved.find(entry, 2, made), undefined);
  writeFileSync(join(dir, 'spaced/tabswarm-1.json'), '{"made":');
  assert.equal(saved.find(entry, 1, made), undefined, 'half a file is none');
});

test('only what is between the markers is replaced', () => {
  const document = 'before\n<!-- offload: written by `cargo xtask bench offload --full` -->\nold\n<!-- offload: end -->\nafter\n';
  const replaced = replaceBetweenMarkers(document, 'new');
  assert.ok(replaced.startsWith('before\n<!-- offload: written'));
  assert.ok(replaced.endsWith('\nnew\n\n<!-- offload: end -->\nafter\n'));
  assert.ok(!replaced.includes('old'));
  assert.throws(() => replaceBetweenMarkers('nothing here', 'new'));
});
