// @ts-check
/** What one viewer alone costs the main thread: nothing that delays a frame or a click. Time is the thread's CPU time, not the clock's. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { bulkStream } from './harness/streams.mjs';
import { MainThread } from './harness/trace.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** A task that is longer is a long task (W3C Long Tasks API). */
const LONG_MS = 50;
/** A segment of a second of 4K at the highest rates. */
const LARGE_BYTES = 16 << 20;

/** @param {import('./harness/trace.mjs').Task[]} tasks */
const long = (tasks) => tasks.filter(({ cpuMs }) => cpuMs > LONG_MS);

test('one viewer alone, from the module to the end of 58 s, has no task of 50 ms', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const tab = await stage.open('v1');
  const main = await MainThread.start(tab.page);
  await tab.start({ src: stage.src('v1'), swarm: stage.swarm, level: 1, hls: buffering(20), rate: 2, until: 58 });
  const { stats } = await tab.finished();
  const tasks = await main.stop();
  assert.ok(stats.segments > 0, 'the segments came through the module');
  assert.ok(tasks.length > 1000, `${tasks.length} tasks`);
  assert.deepEqual(long(tasks), []);
});

test('a segment of 16 MiB is checked and delivered without a task of 50 ms', async (t) => {
  const stage = await Stage.open(t, browser, 'signed', (dir) => bulkStream(dir, 1, LARGE_BYTES));
  const tab = await stage.open('v1');
  const main = await MainThread.start(tab.page);
  const [bytes, delivery] = await tab.page.evaluate(
    async ({ options, master, url }) => {
      // @ts-ignore: resolved by the page's import map
      const { Tabswarm } = await import('tabswarm');
      const swarm = await Tabswarm.create(options);
      const loaded = new Promise((resolve) => swarm.addEventListener('segment-loaded', resolve));
      await swarm.open(master);
      const response = await swarm.fetch(url);
      const { byteLength } = await response.arrayBuffer();
      return [byteLength, (await loaded).detail.delivery];
    },
    { options: stage.swarm, master: stage.src('v1'), url: `${stage.origin.url()}/media/bulk-000.ts` },
  );
  assert.deepEqual([bytes, delivery], [LARGE_BYTES, 'verified']);
  assert.deepEqual(long(await main.stop()), []);
});

test('a long task is seen', async (t) => {
  const stage = await Stage.open(t, browser, 'origin');
  const { page } = await stage.open('v1');
  const main = await MainThread.start(page);
  await page.evaluate(() => {
    let sum = 0;
    for (let at = 0; at < 1e9; at += 1) sum += at % 7;
    return sum;
  });
  assert.ok(long(await main.stop()).length > 0);
});
