// @ts-check
/** What an origin does wrong reaches hls.js as it would without tabswarm. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { byteRangeSample } from './harness/streams.mjs';

/** @typedef {Omit<import('./harness/origin.mjs').Fault, 'path'>} Trouble */

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const retries = { maxNumRetry: 2, retryDelayMs: 50, maxRetryDelayMs: 100 };
const HLS = {
  fragLoadPolicy: {
    default: { maxTimeToFirstByteMs: 2_000, maxLoadTimeMs: 3_000, timeoutRetry: retries, errorRetry: retries },
  },
};
/** The segment that has trouble, and the one after which a recovery counts. */
const TROUBLED = /segment-03/;
const RECOVERED_AT = 6;
/** A segment that is asked for when a viewer with this buffer has long met its neighbour. */
const LATE = /segment-08/;
const SMALL_BUFFER = { hls: { ...HLS, ...buffering(4) }, rate: 2 };
/** Of this nothing is kept: the next try starts over, as that of plain hls.js does. */
const LESS_THAN_A_GROUP = 8_192;

/** @type {[string, Trouble][]} */
const TROUBLES = [
  ['404 once', { status: 404, times: 1 }],
  ['404 for good', { status: 404 }],
  ['500 once', { status: 500, times: 1 }],
  ['500 for good', { status: 500 }],
  ['a body slower than the time limit', { bytesPerSecond: 10_000, times: 1 }],
  ['a body that stops coming, once', { stallAfter: 32_768, times: 1 }],
  ['an answer that never comes, once', { stallAfter: 0, times: 1 }],
  ['an answer that never comes, for good', { stallAfter: 0 }],
  ['a short body and a reset, once', { cutAfter: LESS_THAN_A_GROUP, times: 1 }],
  ['a short body and a reset, for good', { cutAfter: LESS_THAN_A_GROUP }],
];

/** @param {any} report */
const gaveUp = ({ hlsErrors }) => hlsErrors.some((/** @type {any} */ { fatal }) => fatal);
/** @param {any} report */
const settled = (report) => gaveUp(report) || report.fragments.some((/** @type {any} */ { sn }) => sn === RECOVERED_AT);

/** What hls.js saw, up to the recovery. @param {any} report */
function seen({ hlsErrors, fragments, payloads }) {
  const end = fragments.findIndex((/** @type {any} */ { sn }) => sn === RECOVERED_AT);
  const loaded = end < 0 ? fragments : fragments.slice(0, end + 1);
  const list = payloads.slice(0, loaded.length).map((/** @type {any} */ { url, bytes, rangeStart = 0, sha256 }) => {
    return `${new URL(url).pathname} from ${rangeStart}: ${bytes} bytes, ${sha256}`;
  });
  // The init segment is asked for together with the first one: either may come first.
  return { errors: hlsErrors, fragments: loaded, payloads: list.sort() };
}

/**
 * Plays with and without tabswarm under the same trouble.
 * @param {Stage} stage
 * @param {RegExp} path
 * @param {Trouble} trouble
 * @param {{ base?: string }} [options]
 */
async function playBoth(stage, path, trouble, { base } = {}) {
  const names = ['plain', 'swarm'];
  for (const viewer of names) stage.origin.addFault({ path, viewer, ...trouble });
  const [plain, swarm] = await Promise.all(
    names.map(async (name) => {
      const none = name === 'plain' ? { swarm: null } : {};
      const tab = await stage.play(name, { src: stage.src(name, { base }), hls: HLS, ...none });
      return tab.until('recovered or gave up', settled);
    }),
  );
  return { plain, swarm };
}

describe('hls.js sees the same with and without tabswarm', { concurrency: 2 }, () => {
  for (const [claim, trouble] of TROUBLES) {
    test(claim, async (t) => {
      const { plain, swarm } = await playBoth(await Stage.open(t, browser, 'origin'), TROUBLED, trouble);
      assert.ok(plain.hlsErrors.length > 0, 'the trouble was noticed');
      assert.deepEqual(seen(swarm), seen(plain));
    });
  }

  test('a Content-Range that another host does not expose', async (t) => {
    const stage = await Stage.open(t, browser, 'origin', byteRangeSample);
    const base = stage.origin.url({ port: await stage.origin.listen(), name: 'localhost' });
    const { plain, swarm } = await playBoth(stage, /all\.mp4/, { hideContentRange: true }, { base });
    assert.deepEqual(seen(swarm), seen(plain));
  });

  test('200 to a Range request, of which only the range is taken', async (t) => {
    const stage = await Stage.open(t, browser, 'origin', byteRangeSample);
    const { plain, swarm } = await playBoth(stage, /all\.mp4/, { ignoreRange: true });
    const { errors, fragments } = seen(swarm);
    assert.deepEqual({ errors, fragments }, { errors: seen(plain).errors, fragments: seen(plain).fragments });
    assert.deepEqual(stage.wrong(swarm), []);
  });
});

describe('with a neighbour hls.js sees the same of a segment that nobody has', { concurrency: 2 }, () => {
  for (const roots of /** @type {const} */ (['signed', 'attested'])) {
    test(`${roots} roots`, async (t) => {
      const stage = await Stage.open(t, browser, roots);
      stage.origin.addFault({ path: LATE, status: 404 });
      const neighbour = await stage.play('neighbour', { hls: { ...HLS, ...buffering(60) } });
      await neighbour.until('gave up', gaveUp);
      const [plain, swarm] = await Promise.all([
        stage.play('plain', { ...SMALL_BUFFER, swarm: null }).then((tab) => tab.until('gave up', gaveUp)),
        stage.play('swarm', SMALL_BUFFER).then((tab) => tab.until('gave up', gaveUp)),
      ]);
      assert.ok(swarm.stats.peerBytes > 0, 'the neighbour gave what it has');
      assert.deepEqual(swarm.hlsErrors, plain.hlsErrors);
      assert.deepEqual(stage.wrong(swarm), []);
    });
  }
});

test('a body that stops coming again and again is fetched bit by bit', async (t) => {
  const stage = await Stage.open(t, browser, 'origin');
  const { plain, swarm } = await playBoth(stage, TROUBLED, { stallAfter: 32_768 });
  assert.ok(gaveUp(plain), 'plain hls.js starts over each time');
  assert.ok(!gaveUp(swarm));
  assert.deepEqual(stage.wrong(swarm), []);
});
