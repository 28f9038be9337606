// @ts-check
/** Without wasm, WebRTC, the service, a manifest or consent, the page plays plain HLS; and it leaves nothing behind. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** `WebSocket.CLOSED` */
const CLOSED = 3;
const SHORT = { rate: 2, until: 8 };
/** The init segment, and those of the seconds that are played. */
const SHORT_SEGMENTS = 5;
const AHEAD = { hls: buffering(60) };

/** @param {any} report */
function connected({ stats }) {
  return stats.peers.some((/** @type {any} */ { state }) => state === 'open');
}

/** @param {any} report */
function allClosed({ wire }) {
  return (
    wire.connections.every((/** @type {string} */ state) => state === 'closed') &&
    wire.sockets.every((/** @type {number} */ state) => state === CLOSED)
  );
}

/**
 * @param {Stage} stage
 * @param {any} report
 */
function playedOverHttp(stage, report) {
  assert.deepEqual(stage.wrong(report), []);
  assert.deepEqual(report.stalls, [], timeline(report));
  assert.deepEqual(report.hlsErrors, []);
  assert.ok(report.payloads.length >= SHORT_SEGMENTS);
}

test('without its wasm module it plays over HTTP', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.addFault({ path: /\.wasm$/, status: 404 });
  const report = await (await stage.play('v1', SHORT)).finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.mode, 'http');
});

test('with a wasm module that is none it plays over HTTP', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.addFault({ path: /\.wasm$/, flipByteAt: 0 });
  const report = await (await stage.play('v1', SHORT)).finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.mode, 'http');
});

test('without WebRTC it plays over HTTP', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const tab = await stage.open('v1', { scripts: ['no-webrtc.js'] });
  await tab.start({ src: stage.src('v1'), swarm: stage.swarm, level: 1, ...SHORT });
  const report = await tab.finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.mode, 'http');
});

test('without the service it plays over HTTP', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  await stage.service.kill();
  const report = await (await stage.play('v1', SHORT)).finished();
  playedOverHttp(stage, report);
  // It is tried again and again: nothing is lost for good, and nothing went wrong here.
  assert.equal(report.stats.mode, 'p2p');
  assert.ok(['closed', 'connecting'].includes(report.stats.signaling), report.stats.signaling);
  assert.equal(report.counts.error, undefined);
});

test('a panic of the module leaves HTTP playback without a stall, and nothing open', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const play = (/** @type {string} */ name) => stage.play(name, { hls: buffering(6), until: 30 });
  const [first, second] = await Promise.all(['v1', 'v2'].map(play));
  await first.until('connected', connected);
  await second.until('connected', connected);

  await first.page.evaluate(async () => {
    const { loadModule } = await import(/** @type {string} */ ('/npm/module.js'));
    const { memory } = await loadModule(undefined);
    // The next call into the module traps.
    new Uint8Array(memory.buffer).fill(0xff);
  });
  const { done } = await first.until('closed everything', allClosed);
  assert.equal(done, false);
  await second.until('noticed', (report) => !connected(report), 30_000);
  const report = await first.finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.mode, 'http');
  const errors = report.events.filter((/** @type {any} */ { type }) => type === 'error');
  assert.deepEqual(errors.map((/** @type {any} */ { detail }) => detail.code), ['module-failed']);
  assert.deepEqual(first.problems, []);
});

test('without a manifest it plays over HTTP', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.addFault({ path: /\.tabswarm/, status: 404 });
  const report = await (await stage.play('v1', SHORT)).finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.verifiedGroups, 0);
});

test('a corrupt manifest counts as none', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.addFault({ path: /master\.m3u8\.tabswarm$/, flipByteAt: 1_000 });
  const report = await (await stage.play('v1', SHORT)).finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.verifiedGroups, 0);
});

test('a manifest signed by somebody else counts as none', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const stranger = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
  const report = await (await stage.play('v1', { ...SHORT, swarm: { publisherKey: stranger } })).finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.verifiedGroups, 0);
});

test('a service whose issuer the page does not trust is none', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const stranger = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
  const report = await (await stage.play('v1', { ...SHORT, swarm: { issuerKeys: [stranger] } })).finished();
  playedOverHttp(stage, report);
  assert.equal(report.stats.peerId, null);
});

test('with manual consent no connection is made before enable()', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const first = await stage.play('v1', AHEAD);
  await first.until('loaded the stream', ({ fragments }) => fragments.length >= 30);
  const second = await stage.play('v2', { hls: buffering(6), swarm: { consent: 'manual' }, rate: 2, until: 30 });
  const waiting = await second.until('plays', ({ position }) => position > 8);
  assert.deepEqual(waiting.wire.connections, []);
  assert.deepEqual(waiting.wire.sockets, []);
  assert.equal(waiting.stats.peerBytes, 0);

  await second.page.evaluate(() => /** @type {any} */ (globalThis).testPlayer.swarm.enable());
  const report = await second.until('shares', ({ stats }) => stats.peerBytes > 0);
  assert.ok(report.wire.connections.length > 0);
});

test('disable() and destroy() leave no connection open', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const [first, second] = await Promise.all(['v1', 'v2'].map((name) => stage.play(name, { hls: buffering(6) })));
  await first.until('connected', connected);
  await second.until('connected', connected);

  await first.page.evaluate(() => /** @type {any} */ (globalThis).testPlayer.swarm.disable());
  await first.until('closed everything', allClosed);
  await second.until('noticed', (report) => !connected(report), 30_000);
  const { position } = await first.report();
  await first.until('plays on', (report) => report.position > position + 4);

  await first.page.evaluate(() => /** @type {any} */ (globalThis).testPlayer.swarm.enable());
  await first.until('connected again', connected);
  await second.page.evaluate(() => /** @type {any} */ (globalThis).testPlayer.swarm.destroy());
  await second.until('closed everything', allClosed);
});
