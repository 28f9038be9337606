// @ts-check
/** What a viewer gives: no more than it may, nothing where it is to take only. And a hidden one goes on. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launchBrowser, launchWindow } from './harness/browser.mjs';
import { Fetcher } from './harness/fetcher.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { standsNoLonger } from './harness/standstill.mjs';
import { bulkStream } from './harness/streams.mjs';
import { Tab } from './harness/tab.mjs';
import { until } from './harness/wait.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const FILES = /\.ts$/;
/** Nobody is in a hurry: peers are waited for. Milliseconds. */
const NO_HURRY_MS = 600_000;
const MINUTE_MS = 60_000;

/** @param {import('node:test').TestContext} t @param {number} count */
async function bulkStage(t, count) {
  /** @type {string[]} */
  let names = [];
  const stage = await Stage.open(t, browser, 'signed', (dir) => (names = bulkStream(dir, count)));
  return { stage, names };
}

/** Turns the browser's data saver on or off. @param {import('playwright-core').Page} page @param {boolean} on */
async function saveData(page, on) {
  const session = await page.context().newCDPSession(page);
  await session.send('Emulation.setDataSaverOverride', { dataSaverEnabled: on });
  await page.evaluate(() => /** @type {any} */ (navigator).connection.dispatchEvent(new Event('change')));
}

/**
 * Gives a tab a sound that nobody hears: Chromium stops muted videos in hidden tabs, and throttles no timers where there is
 * something to hear.
 * @param {Tab} tab
 */
function unmute(tab) {
  return tab.page.evaluate(() => {
    const { video } = /** @type {any} */ (globalThis).testPlayer;
    video.volume = 1e-6;
    video.muted = false;
  });
}

/** Whether a tab is hidden, and its timers come once a second. @param {Tab} tab */
function isThrottled(tab) {
  return tab.page.evaluate(async () => {
    const beganMs = performance.now();
    for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
    return document.hidden && performance.now() - beganMs > 1000;
  });
}

describe('for a minute', { concurrency: true }, () => {
  test('the upload limit holds over a minute, and is used, whatever a neighbour asks for', async (t) => {
    const limit = 250_000;
    const { stage, names } = await bulkStage(t, 50);
    // What the neighbour brings late the origin is asked for: that is not to end the asking before the minute is over.
    stage.origin.addFault({ path: FILES, viewer: 'v2', bytesPerSecond: 50_000 });
    const giver = await Fetcher.open(stage, 'v1', { swarm: { uploadLimit: limit }, scripts: ['rate-tap.js'] });
    await giver.fetch(names);
    const taker = await Fetcher.open(stage, 'v2');
    await taker.connected();
    const taking = taker.fetch(names, NO_HURRY_MS);
    taking.catch(() => undefined);
    /** @type {{ atMs: number, bytes: number }[]} */
    const sends = await until('a minute of giving', () => giver.page.evaluate((ms) => {
      const list = /** @type {any} */ (globalThis).rateTap;
      return list.length > 0 && list.at(-1).atMs - list[0].atMs > ms ? list : undefined;
    }, MINUTE_MS), { limitMs: 2 * MINUTE_MS, dump: () => taker.report() });
    const span = sends.filter(({ atMs }) => atMs - sends[0].atMs <= MINUTE_MS);
    const share = span.reduce((sum, { bytes }) => sum + bytes, 0) / ((limit * MINUTE_MS) / 1000);
    t.diagnostic(`${(100 * share).toFixed(1)} % of the limit`);
    assert.ok(share > 0.95 && share < 1.05, `${share} of the limit`);
  });

  test('a hidden viewer plays on, and on its return the picture stands no longer than with hls.js alone', async (t) => {
    const stage = await Stage.open(t, browser, 'signed');
    const context = await launchWindow(t);
    const open = (/** @type {string} */ name) => Tab.beside(context, stage.origin.page, { name, scripts: ['standstill.js'] });
    // Slow enough that the sample's minute is not over before.
    const config = (/** @type {string} */ name) => ({ src: stage.src(name), level: 1, hls: buffering(6), rate: 0.75 });
    const plain = await open('plain');
    await plain.start({ ...config('plain'), swarm: null });
    await unmute(plain);
    const swarm = await open('swarm');
    await swarm.start({ ...config('swarm'), swarm: stage.swarm });
    await unmute(swarm);
    const front = await open('front');
    await front.start({ ...config('front'), hls: buffering(60), swarm: stage.swarm });
    const begun = await swarm.until('shares', ({ stats }) => stats.peerBytes > 0);
    for (const tab of [plain, swarm]) await until(`${tab.name} is hidden and throttled`, () => isThrottled(tab));
    const sinceMs = performance.now();
    await until('a minute is over', () => performance.now() - sinceMs > MINUTE_MS, { limitMs: 2 * MINUTE_MS });

    const hidden = await swarm.report();
    assert.ok(hidden.position > begun.position + 30, 'a hidden tab plays');
    assert.ok(hidden.stats.peerBytes > begun.stats.peerBytes, 'and takes');
    assert.deepEqual(hidden.events.filter((/** @type {any} */ { type }) => type === 'peer-close'), []);
    for (const tab of [swarm, plain]) {
      const { position } = await tab.report();
      await tab.page.bringToFront();
      await tab.until('plays on', (report) => report.position > position + 3 || report.done);
    }
    assert.deepEqual(stage.wrong(await swarm.report()), []);
    await standsNoLonger(t, plain, swarm);
  });
});

test('a viewer with the data saver on takes, and sends no segment bytes', async (t) => {
  const { stage, names } = await bulkStage(t, 8);
  const [first, second] = [names.slice(0, 4), names.slice(4)];
  const saver = await Fetcher.open(stage, 'v1', { prepare: (page) => saveData(page, true) });
  await saver.fetch(first);
  const other = await Fetcher.open(stage, 'v2');
  await other.fetch(second);
  await other.connected();
  const [taken] = await Promise.all([saver.fetch(second), other.fetch(first)]);
  const [given, got] = [await saver.report(), await other.report()];
  assert.equal(taken, 4_000_000);
  assert.deepEqual([given.stats.sharing, given.stats.sharingReasons], ['download-only', ['metered']]);
  assert.equal(given.wire.traffic.sent.payload, 0);
  assert.ok(given.wire.traffic.received.payload > 0, 'it took');
  assert.equal(got.wire.traffic.received.payload, 0);
  assert.ok(stage.origin.bytes({ viewer: 'v2', path: FILES }) >= 8_000_000, 'the other one had everything from the origin');
});

test('a viewer whose line comes to be metered stops giving, and gives again afterwards', async (t) => {
  const { stage, names } = await bulkStage(t, 12);
  const giver = await Fetcher.open(stage, 'v1');
  await giver.fetch(names);
  const taker = await Fetcher.open(stage, 'v2');
  await taker.connected();
  await taker.fetch(names.slice(0, 4));
  const before = await giver.report();
  assert.ok(before.wire.traffic.sent.payload > 0);

  await saveData(giver.page, true);
  const stopped = await giver.report();
  await taker.fetch(names.slice(4, 8));
  const metered = await giver.report();
  assert.equal(metered.wire.traffic.sent.payload, stopped.wire.traffic.sent.payload);

  await saveData(giver.page, false);
  await taker.fetch(names.slice(8));
  const again = await giver.report();
  assert.ok(again.wire.traffic.sent.payload > metered.wire.traffic.sent.payload);
  assert.deepEqual(again.sharing.map((/** @type {any} */ { sharing }) => sharing), ['download-only', 'full']);
});
