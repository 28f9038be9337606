// @ts-check
/** What `destroy()` leaves behind: nothing, however often. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { Stage, buffering } from './harness/stage.mjs';
import { bulkStream } from './harness/streams.mjs';
import { newPage } from './harness/tab.mjs';

/** @typedef {import('./harness/tab.mjs').Tab} Tab */

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const NOTHING = { connections: [], sockets: [], handlers: [], requests: [], timers: [], listeners: [] };
const SEGMENTS = /\.m4s$/;

/** What is there of tabswarm's now; see page/leftovers.js. @param {Tab} tab */
const leftovers = (tab) => tab.page.evaluate(() => /** @type {any} */ (globalThis).leftovers.report());

/**
 * Destroys the swarm, and looks just before and in the next task: loaders hear from promises.
 * @param {Tab} tab
 * @param {{ withRequest: boolean }} when `withRequest`: as soon as a request is on its way
 */
function destroyAndLook(tab, { withRequest }) {
  return tab.page.evaluate(async (waits) => {
    const { testPlayer, leftovers: look } = /** @type {any} */ (globalThis);
    while (waits && look.report().requests.length === 0) await new Promise((resolve) => setTimeout(resolve));
    const before = look.report();
    testPlayer.swarm.destroy();
    await new Promise((resolve) => setTimeout(resolve));
    return { before, after: look.report() };
  }, withRequest);
}

test('destroy() leaves no connection, request, timer or listener, in the midst of a stream', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const open = async (/** @type {string} */ name) => {
    const tab = await stage.open(name, { scripts: ['leftovers.js'] });
    await tab.start({ src: stage.src(name), swarm: stage.swarm, level: 1, hls: buffering(12) });
    return tab;
  };
  const first = await open('v1');
  await first.until('loaded some', ({ fragments }) => fragments.length >= 6);
  const second = await open('v2');
  await second.until('shares', ({ stats }) => stats.peerBytes > 0);
  stage.origin.addFault({ path: SEGMENTS, stallAfter: 20_000 });

  for (const tab of [first, second]) {
    const { before, after: left } = await destroyAndLook(tab, { withRequest: tab === first });
    for (const [what, there] of Object.entries(before)) {
      if (what !== 'requests' || tab === first) assert.ok(there.length > 0, `${tab.name} had ${what} to leave behind`);
    }
    assert.deepEqual(left, NOTHING, tab.name);
  }
  stage.origin.clearFaults();
  for (const tab of [first, second]) {
    const { position } = await tab.report();
    await tab.until('plays on', (report) => report.position > position + 3);
    assert.deepEqual(await leftovers(tab), NOTHING, `${tab.name}, later`);
  }
});

/**
 * Runs in the page: makes pairs of instances that share a file, and ends them.
 * @param {{ options: object, master: string, file: string, cycles: number }} task
 */
async function cycle({ options, master, file, cycles }) {
  // @ts-ignore: resolved by the page's import map
  const { Tabswarm } = await import('tabswarm');
  let wasmMemoryBytes = 0;
  for (let i = 0; i < cycles; i += 1) {
    const [giver, taker] = [await Tabswarm.create(options), await Tabswarm.create(options)];
    await giver.open(master);
    await (await giver.fetch(file)).arrayBuffer();
    const connected = new Promise((resolve) => taker.addEventListener('peer-connect', resolve, { once: true }));
    await taker.open(master);
    await connected;
    await (await taker.fetch(file, { deadlineMs: 60_000 })).arrayBuffer();
    const stats = taker.stats();
    if (stats.peerBytes === 0) throw new Error(`nothing came from the other one: ${JSON.stringify(stats)}`);
    wasmMemoryBytes = stats.wasmMemoryBytes;
    giver.destroy();
    taker.destroy();
  }
  return wasmMemoryBytes;
}

/** Most that the heap may grow by an instance, bytes. */
const FLAT = 4096;

test('what 50 instances used is given back', async (t) => {
  const stage = await Stage.open(t, browser, 'signed', (dir) => bulkStream(dir, 1));
  const page = await newPage(browser, []);
  t.after(() => page.context().close());
  await page.goto(stage.origin.page);
  const session = await page.context().newCDPSession(page);
  const media = `${stage.origin.url()}/media/`;
  const run = async (/** @type {number} */ cycles) => {
    const options = { ...stage.swarm, start: 'economy' };
    const task = { options, master: `${media}master.m3u8`, file: `${media}bulk-000.ts`, cycles };
    const wasmBytes = await page.evaluate(cycle, task);
    // What is freed in one collection lets go of more in the next one.
    for (let i = 0; i < 3; i += 1) await session.send('HeapProfiler.collectGarbage');
    const { usedSize, backingStorageSize = 0 } = /** @type {any} */ (await session.send('Runtime.getHeapUsage'));
    return { wasmBytes, usedSize, backingStorageSize };
  };
  // Two instances a cycle.
  const early = await run(5);
  const late = await run(20);
  t.diagnostic(`after 10: ${JSON.stringify(early)}, after 50: ${JSON.stringify(late)}`);
  const growth = late.usedSize + late.backingStorageSize - early.usedSize - early.backingStorageSize;
  assert.ok(growth < 40 * FLAT, `${growth / 40} bytes an instance`);
  assert.equal(late.wasmBytes, early.wasmBytes);
});
