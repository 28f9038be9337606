// @ts-check
/** Origin bytes that contradict a root: each mode does what its users were promised. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const CORRUPT = /high\/segment-05/;
const AHEAD = { hls: buffering(60) };
const BEHIND = { hls: buffering(8), rate: 2, until: 14 };

/** @param {any} report */
const mismatches = ({ events }) => events.filter((/** @type {any} */ { type }) => type === 'origin-mismatch');
/** @param {any[]} payloads */
const paths = (payloads) => payloads.map(({ url }) => new URL(url).pathname);

/**
 * A first tab whose copy of one segment is corrupt, and a second one whose origin is right.
 * @param {Stage} stage
 * @param {Record<string, unknown>} [swarm]
 */
async function corruptForTheFirst(stage, swarm) {
  stage.origin.addFault({ path: CORRUPT, viewer: 'v1', flipByteAt: 20_000 });
  const first = await stage.play('v1', { ...AHEAD, swarm });
  // The root may come from the service after the segment.
  const report = await first.until('got past the segment and said so', (seen) =>
    seen.fragments.some((/** @type {any} */ { sn }) => sn === 8) && mismatches(seen).length > 0,
  );
  const second = await stage.play('v2', BEHIND);
  return { first: report, second: await second.finished() };
}

describe('an origin that contradicts a root', { concurrency: 2 }, () => {
  for (const [roots, swarm] of /** @type {const} */ ([
    ['signed', { signedMismatch: 'deliver' }],
    ['origin', {}],
    ['attested', {}],
  ])) {
    const option = 'signedMismatch' in swarm ? " with signedMismatch: 'deliver'" : '';
    test(`${roots} mode${option} delivers it, says so, and does not share that segment`, async (t) => {
      const stage = await Stage.open(t, browser, roots);
      const { first, second } = await corruptForTheFirst(stage, swarm);

      assert.equal(mismatches(first).length, 1);
      assert.match(mismatches(first)[0].detail.url, CORRUPT);
      assert.deepEqual(paths(stage.wrong(first)).map((path) => CORRUPT.test(path)), [true]);
      assert.deepEqual(first.hlsErrors, []);

      assert.deepEqual(stage.wrong(second), []);
      assert.deepEqual(mismatches(second), []);
      assert.ok(second.stats.peerBytes > 0, 'other segments were shared');
      const [corrupt] = second.events.filter(
        (/** @type {any} */ { type, detail }) => type === 'segment-loaded' && CORRUPT.test(detail.url),
      );
      assert.deepEqual(corrupt.detail.peers, [], 'the other tab did not have it');
    });
  }
});

test('signed mode refuses it after one re-fetch', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.addFault({ path: CORRUPT, flipByteAt: 20_000 });
  const errorRetry = { maxNumRetry: 0, retryDelayMs: 0, maxRetryDelayMs: 0 };
  const policy = { default: { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 20_000, timeoutRetry: null, errorRetry } };
  const tab = await stage.play('v1', { hls: { fragLoadPolicy: policy } });
  const report = await tab.until('told hls.js', ({ hlsErrors }) => hlsErrors.length > 0);

  assert.equal(report.hlsErrors[0].details, 'fragLoadError');
  assert.equal(report.hlsErrors[0].sn, 5);
  assert.ok(mismatches(report).length > 0);
  assert.deepEqual(stage.wrong(report), []);
  assert.equal(stage.origin.requests({ viewer: 'v1', path: CORRUPT }).length, 2);
});

test('signed mode takes the right bytes of the re-fetch', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.addFault({ path: CORRUPT, flipByteAt: 20_000, times: 1 });
  const tab = await stage.play('v1');
  const report = await tab.until('got past the segment', ({ fragments }) =>
    fragments.some((/** @type {any} */ { sn }) => sn === 8),
  );
  assert.deepEqual(report.hlsErrors, []);
  assert.deepEqual(stage.wrong(report), []);
});

test('signed mode says so of a first segment that played before it could be checked, and does not share it', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const first = /high\/segment-00/;
  stage.origin.addFault({ path: first, viewer: 'v1', flipByteAt: 20_000 });
  const tab = await stage.play('v1', AHEAD);
  const report = await tab.until('said so', (seen) => mismatches(seen).length > 0);
  assert.match(mismatches(report)[0].detail.url, first);
  const second = await (await stage.play('v2', BEHIND)).finished();
  assert.deepEqual(stage.wrong(second), []);
  assert.deepEqual(mismatches(second), []);
  assert.ok(second.stats.peerBytes > 0, 'other segments were shared');
});
