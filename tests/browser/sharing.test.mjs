// @ts-check
/** Tabs give each other the video, whatever the roots and whatever the URLs look like. */

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';
import { byteRangeSample } from './harness/streams.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** The second tab may fetch this share of its video from the origin: it starts before it has met anybody. */
const MAX_ORIGIN_SHARE = 0.4;
/** Bytes that the origin may have sent and the tab not seen: two segments. */
const MAX_UNSEEN = 200_000;
const SEGMENTS = /\.(m4s|mp4)$/;

/** A tab that is ahead: it loads the whole stream. */
const AHEAD = { hls: buffering(60) };
/** A tab that follows, a few seconds of buffer at a time. */
const BEHIND = { hls: buffering(8), rate: 2, until: 18 };

/** @param {{ payloads: { bytes: number }[] }} report */
const bytesPlayed = ({ payloads }) => payloads.reduce((sum, { bytes }) => sum + bytes, 0);

/**
 * Lets a second tab play what a first one has, and checks where it came from.
 * @param {Stage} stage
 * @param {{ ahead?: object, behind?: object }} [config]
 */
async function secondTabGetsItFromTheFirst(stage, { ahead, behind } = {}) {
  const first = await stage.play('v1', { ...AHEAD, ...ahead });
  await first.until('loaded 20 segments', ({ fragments }) => fragments.length >= 20);
  const second = await stage.play('v2', { ...BEHIND, ...behind });
  const report = await second.finished();
  const given = await first.report();

  const fromOrigin = stage.origin.bytes({ viewer: 'v2', path: SEGMENTS });
  assert.deepEqual(stage.wrong(report), []);
  assert.deepEqual(stage.wrong(given), []);
  assert.deepEqual(report.stalls, [], timeline(report));
  assert.ok(fromOrigin < MAX_ORIGIN_SHARE * bytesPlayed(report), `${fromOrigin} of ${bytesPlayed(report)} from the origin`);
  assert.equal(report.stats.badGroups, 0);
  assert.ok(report.stats.peerBytes > 0);
  assert.ok(given.stats.uploadBytes >= report.stats.peerBytes, 'what came from a peer was given by the other tab');
  // What the tab says of itself is what the origin counted, but for requests that were under way or given up.
  const unseen = fromOrigin - report.stats.originBytes;
  assert.ok(unseen >= 0 && unseen < MAX_UNSEEN, `the tab says ${report.stats.originBytes}, the origin ${fromOrigin}`);
  return { first, second, report };
}

for (const roots of /** @type {const} */ (['signed', 'origin', 'attested'])) {
  test(`the second tab gets its video from the first, ${roots} roots`, async (t) => {
    await secondTabGetsItFromTheFirst(await Stage.open(t, browser, roots));
  });
}

test("a tab that starts with 'economy' takes its first segments from the one that has them", async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const first = await stage.play('v1', AHEAD);
  await first.until('loaded 20 segments', ({ fragments }) => fragments.length >= 20);
  const second = await stage.play('v2', { ...BEHIND, swarm: { start: 'economy' } });
  const report = await second.finished();

  assert.deepEqual(stage.wrong(report), []);
  assert.deepEqual(report.stalls, [], timeline(report));
  assert.equal(stage.origin.bytes({ viewer: 'v2', path: /\.m4s$/ }), 0, timeline(report));
});

test('byte ranges of one file are shared like segments', async (t) => {
  await secondTabGetsItFromTheFirst(await Stage.open(t, browser, 'signed', byteRangeSample));
});

/** Of an interface's flags, see `netdevice(7)`. */
const IFF_MULTICAST = 0x1000;

/** Whether an interface can do multicast, where the system says so in a file. @param {string} name */
function hasMulticast(name) {
  const file = `/sys/class/net/${name}/flags`;
  return !existsSync(file) || (Number(readFileSync(file, 'utf8')) & IFF_MULTICAST) !== 0;
}

/** mDNS needs an interface with multicast. */
const hasMdns = Object.entries(networkInterfaces()).some(
  ([name, addresses]) => addresses?.some(({ internal }) => !internal) && hasMulticast(name),
);
const skip = !hasMdns && 'no interface with multicast';

test('tabs whose addresses are hidden behind mDNS names share', { skip }, async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const config = (/** @type {string} */ name) => ({ src: stage.src(name), swarm: stage.swarm, level: 1 });
  const first = await stage.open('v1', { hidden: true });
  await first.start({ ...config('v1'), ...AHEAD });
  await first.until('loaded 20 segments', ({ fragments }) => fragments.length >= 20);
  const second = await stage.open('v2', { hidden: true });
  await second.start({ ...config('v2'), ...BEHIND });
  await second.until('took something from the first', ({ stats }) => stats.peerBytes > 0);
});

test('two CDN hosts and a token for each viewer are one swarm, and no token leaves the tab', async (t) => {
  const stage = await Stage.open(t, browser, 'attested');
  const cdn = await stage.origin.listen();
  const attestorHost = new URL(stage.origin.url()).host;
  const tokens = { v1: 'one-secret-2f6b1c9e', v2: 'two-secret-83d0a47f' };
  const first = await stage.open('v1');
  const second = await stage.open('v2');
  for (const tab of [first, second]) {
    await tab.page.evaluate((list) => /** @type {any} */ (globalThis).wireTap.forbid(list), Object.values(tokens));
  }
  const { origin } = stage;
  const start = (/** @type {any} */ tab, /** @type {string} */ base, /** @type {object} */ config) =>
    tab.start({
      src: stage.src(tab.name, { base, query: { token: tokens[/** @type {'v1' | 'v2'} */ (tab.name)] } }),
      swarm: stage.swarm,
      level: 1,
      ...config,
    });
  await start(first, origin.url({ port: cdn }), AHEAD);
  await first.until('loaded 20 segments', ({ fragments }) => fragments.length >= 20);
  await start(second, origin.url({ port: cdn, name: 'localhost' }), BEHIND);
  const report = await second.finished();

  assert.deepEqual(stage.wrong(report), []);
  assert.ok(origin.bytes({ viewer: 'v2', path: SEGMENTS }) < MAX_ORIGIN_SHARE * bytesPlayed(report));
  for (const { wire } of [report, await first.report()]) {
    assert.ok(wire.sent.socket > 0 && wire.sent.channel > 0, 'messages were looked into');
    assert.deepEqual(wire.leaks, []);
  }
  const attestors = origin.served.filter(({ host }) => host === attestorHost);
  assert.ok(attestors.length > 0, 'the service fetched for itself');
  for (const { query, headers } of attestors) {
    assert.doesNotMatch(JSON.stringify([query, headers]), /secret/);
  }
  const viewers = origin.served.filter(({ host }) => host !== attestorHost);
  assert.ok(viewers.every(({ viewer, query }) => query.includes(tokens[/** @type {'v1' | 'v2'} */ (viewer)])));
});
