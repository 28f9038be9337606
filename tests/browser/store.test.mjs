// @ts-check
/** Segments on disk: a reload plays from there, and nothing else about it is worse than without. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { shortSample } from './harness/streams.mjs';
import { timeline } from './harness/tab.mjs';
import { until } from './harness/wait.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const SEGMENTS = /\.(m4s|mp4)$/;
const SECONDS = 8;
/** Four segments and their init segment. */
const FILES = SECONDS / 2 + 1;
const PERSIST = { persist: true };
const ALL = { level: 1, hls: buffering(60), rate: 3 };
const LONGEST_TASK_MS = 50;

/** @param {import('node:test').TestContext} t @param {'signed' | 'attested'} [roots] */
const open = (t, roots = 'signed') => Stage.open(t, browser, roots, (dir) => shortSample(dir, SECONDS));

/**
 * Names and lengths of the files on disk.
 * @param {import('./harness/tab.mjs').Tab} tab
 * @returns {Promise<{ name: string, size: number }[]>}
 */
function files(tab) {
  return tab.page.evaluate(async () => {
    const found = [];
    const top = await navigator.storage.getDirectory();
    const root = await top.getDirectoryHandle('tabswarm-1', { create: true });
    for await (const directory of root.values()) {
      if (directory.kind !== 'directory') continue;
      for await (const file of directory.values()) {
        if (file.kind !== 'file' || !/^[0-9a-f]{64}-\d+$/.test(file.name)) continue;
        // It may be removed meanwhile.
        const bytes = await file.getFile().catch(() => undefined);
        if (bytes) found.push({ name: file.name, size: bytes.size });
      }
    }
    return found;
  });
}

/**
 * Changes every file on disk.
 * @param {import('./harness/tab.mjs').Tab} tab
 * @param {'flip' | 'tear'} how
 */
function spoil(tab, how) {
  return tab.page.evaluate(async (given) => {
    const top = await navigator.storage.getDirectory();
    const root = await top.getDirectoryHandle('tabswarm-1');
    for await (const directory of root.values()) {
      if (directory.kind !== 'directory') continue;
      for await (const file of directory.values()) {
        if (file.kind !== 'file') continue;
        const bytes = new Uint8Array(await (await file.getFile()).arrayBuffer());
        const middle = bytes.length >> 1;
        bytes[middle] ^= 1;
        const writable = await file.createWritable();
        await writable.write(given === 'tear' ? bytes.subarray(0, middle) : bytes);
        await writable.close();
      }
    }
  }, how);
}

/** @param {import('./harness/tab.mjs').Tab} tab @param {number} count */
const untilKept = (tab, count) =>
  until(`${tab.name}: ${count} files on disk`, async () => {
    const found = await files(tab);
    return found.filter(({ name, size }) => size === Number(name.split('-')[1])).length >= count ? found : undefined;
  });

/**
 * Plays to the end, once in a fresh tab or again after a reload. The name of the viewer is in the URLs, so that the HTTP cache
 * helps nobody.
 * @param {Stage} stage
 * @param {string} viewer
 * @param {import('./harness/tab.mjs').Tab} tab
 * @param {object} [swarm]
 */
async function play(stage, viewer, tab, swarm = PERSIST) {
  await tab.start({ ...ALL, src: stage.src(viewer), swarm: { ...stage.swarm, ...swarm } });
  const report = await tab.finished();
  assert.deepEqual(stage.wrong(report), []);
  assert.deepEqual(report.stalls, [], timeline(report));
  return { report, fromOrigin: stage.origin.bytes({ viewer, path: SEGMENTS }) };
}

test('a reload plays what was kept without a byte from origin or peers', async (t) => {
  const stage = await open(t);
  const tab = await stage.open('v1');
  const first = await play(stage, 'v1', tab);
  assert.ok(first.fromOrigin > 0);
  assert.equal(first.report.stats.diskBytes, 0);
  const kept = await untilKept(tab, FILES);

  await tab.reload();
  const { report, fromOrigin } = await play(stage, 'again', tab);
  assert.equal(fromOrigin, 0, timeline(report));
  assert.deepEqual([report.stats.originBytes, report.stats.peerBytes], [0, 0]);
  assert.equal(report.stats.diskBytes, kept.reduce((sum, { size }) => sum + size, 0));
  const loaded = report.events.filter((/** @type {any} */ { type }) => type === 'segment-loaded');
  assert.ok(loaded.every((/** @type {any} */ { detail }) => detail.fromDisk + detail.fromOrigin + detail.fromPeers <= detail.bytes));
  assert.ok(loaded.some((/** @type {any} */ { detail }) => detail.fromDisk === detail.bytes));
});

for (const how of /** @type {const} */ (['flip', 'tear'])) {
  test(`spoilt files are fetched anew and never played: ${how}`, async (t) => {
    const stage = await open(t);
    const tab = await stage.open('v1');
    await play(stage, 'v1', tab);
    await untilKept(tab, FILES);
    await spoil(tab, how);

    await tab.reload();
    const { report, fromOrigin } = await play(stage, 'again', tab);
    assert.ok(fromOrigin > 0);
    assert.equal(report.stats.diskBytes, 0);
    // They were removed, and the right ones written.
    await untilKept(tab, FILES);
    await tab.reload();
    assert.equal((await play(stage, 'third', tab)).fromOrigin, 0);
  });
}

test('a tab serves its neighbours from what it kept', async (t) => {
  const stage = await open(t);
  const tab = await stage.open('v1');
  await play(stage, 'v1', tab);
  await untilKept(tab, FILES);
  await tab.reload();
  // It opens the stream and fetches nothing of it.
  await tab.page.evaluate(
    async ([src, options]) => {
      const { Tabswarm } = await import('tabswarm/hls');
      const swarm = await Tabswarm.create({ .../** @type {any} */ (options), start: 'economy' });
      Object.assign(globalThis, { seeder: swarm });
      await swarm.open(/** @type {string} */ (src));
    },
    [stage.src('seeder'), { ...stage.swarm, ...PERSIST }],
  );
  const other = await stage.open('v2');
  const { report } = await play(stage, 'v2', other, { start: 'economy' });
  assert.ok(report.stats.peerBytes > 0, timeline(report));
  assert.equal(stage.origin.bytes({ viewer: 'seeder', path: SEGMENTS }), 0);
});

/** What is blocked is gone from disk within so long, from the block or from the connection of a tab that was away. */
const PURGE_LIMIT_MS = 5000;

/** @param {import('./harness/tab.mjs').Tab} tab @param {string} name */
const untilGone = (tab, name) => {
  const look = async () => {
    const found = await files(tab);
    return found.every((file) => file.name !== name) ? found : undefined;
  };
  return until(`${tab.name}: ${name} is gone`, look, { limitMs: PURGE_LIMIT_MS });
};

/**
 * A tab that has all files of a stream on disk.
 * @param {import('node:test').TestContext} t
 */
async function keeper(t) {
  const stage = await open(t);
  const tab = await stage.open('v1');
  await play(stage, 'v1', tab);
  const kept = await untilKept(tab, FILES);
  const [{ name }] = kept.filter(({ size }) => size > 50_000);
  return { stage, tab, name, content: name.split('-')[0], size: Number(name.split('-')[1]) };
}

test('a block takes a segment from disk, in a tab that is there', async (t) => {
  const { stage, tab, name, content, size } = await keeper(t);
  const beganMs = performance.now();
  stage.block([content]);
  const left = await untilGone(tab, name);
  t.diagnostic(`gone after ${Math.round(performance.now() - beganMs)} ms`);
  assert.equal(left.length, FILES - 1);
  await tab.reload();
  const { fromOrigin } = await play(stage, 'again', tab);
  // It plays from the origin, and is not kept again.
  assert.equal(fromOrigin, size);
  assert.equal((await files(tab)).length, FILES - 1);
});

test('and for a tab that was away when it connects again', async (t) => {
  const { stage, tab, name, content } = await keeper(t);
  const context = tab.page.context();
  await tab.page.goto('about:blank');
  stage.block([content]);
  const page = await context.newPage();
  const { Tab } = await import('./harness/tab.mjs');
  await page.goto(stage.origin.page);
  await page.waitForFunction('globalThis.testPlayer !== undefined');
  const back = new Tab(page, 'back');
  assert.ok((await files(back)).some((file) => file.name === name));
  const beganMs = performance.now();
  await page.evaluate(
    async ([src, options]) => {
      const { Tabswarm } = await import('tabswarm/hls');
      const swarm = await Tabswarm.create(/** @type {any} */ (options));
      Object.assign(globalThis, { swarm });
      await swarm.open(/** @type {string} */ (src));
    },
    [stage.src('back'), { ...stage.swarm, ...PERSIST }],
  );
  await untilGone(back, name);
  t.diagnostic(`gone after ${Math.round(performance.now() - beganMs)} ms`);
});

test('what a tab knows to be blocked it leaves alone without a service', async (t) => {
  const { stage, tab, name, content, size } = await keeper(t);
  stage.block([content]);
  await untilGone(tab, name);
  await stage.service.kill();
  // As if the file had come back from somewhere: its name is all that the tab goes by.
  await tab.page.evaluate(async ([file, length]) => {
    const top = await navigator.storage.getDirectory();
    const root = await top.getDirectoryHandle('tabswarm-1');
    for await (const directory of root.values()) {
      if (directory.kind !== 'directory') continue;
      const writable = await (await directory.getFileHandle(/** @type {string} */ (file), { create: true })).createWritable();
      await writable.write(new Uint8Array(/** @type {number} */ (length)));
      await writable.close();
    }
  }, [name, size]);
  await tab.reload();
  const { report, fromOrigin } = await play(stage, 'again', tab);
  assert.equal(fromOrigin, size, timeline(report));
  await untilGone(tab, name);
});

test('two tabs of one viewer write the same files and both play', async (t) => {
  const stage = await open(t);
  const one = await stage.open('v1');
  const page = await one.page.context().newPage();
  await page.goto(stage.origin.page);
  await page.waitForFunction('globalThis.testPlayer !== undefined');
  const { Tab } = await import('./harness/tab.mjs');
  const two = new Tab(page, 'v2');
  await Promise.all([play(stage, 'v1', one), play(stage, 'v2', two)]);
  const kept = await untilKept(one, FILES);
  assert.equal(kept.length, FILES);
  await one.reload();
  assert.equal((await play(stage, 'again', one)).fromOrigin, 0);
});

test('a full disk keeps nobody from playing', async (t) => {
  const stage = await open(t);
  const tab = await stage.open('v1');
  const config = { ...ALL, src: stage.src('v1'), swarm: { ...stage.swarm, ...PERSIST } };
  await tab.prepare(config);
  // After the disk was opened: what was free then is not there any more.
  const session = await tab.page.context().newCDPSession(tab.page);
  await session.send('Storage.overrideQuotaForOrigin', { origin: stage.origin.url(), quotaSize: 200_000 });
  await tab.start(config);
  const report = await tab.finished();
  assert.deepEqual(stage.wrong(report), []);
  assert.deepEqual(report.stalls, [], timeline(report));
  const errors = report.events.filter((/** @type {any} */ { type }) => type === 'error');
  assert.deepEqual(errors, []);
  assert.ok((await files(tab)).length < FILES);
});

test('without the option, and of a stream without a manifest, nothing is written', async (t) => {
  for (const [roots, swarm] of /** @type {const} */ ([['signed', {}], ['attested', PERSIST]])) {
    const stage = await open(t, roots);
    const tab = await stage.open('v1');
    await play(stage, 'v1', tab, swarm);
    assert.deepEqual(await files(tab), []);
  }
});

test('keeping and restoring takes the page no long task', async (t) => {
  const stage = await open(t);
  const tab = await stage.open('v1');
  await play(stage, 'v1', tab);
  await untilKept(tab, FILES);
  await tab.reload();
  // Opening, reading and checking, without a player: its tasks are not ours.
  const longest = await tab.page.evaluate(
    async ([src, options, limit]) => {
      const tasks = /** @type {number[]} */ ([]);
      const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)));
      observer.observe({ type: 'longtask' });
      const { Tabswarm } = await import('tabswarm/hls');
      const swarm = await Tabswarm.create(/** @type {any} */ (options));
      tasks.length = 0;
      await swarm.open(/** @type {string} */ (src));
      const base = /** @type {string} */ (src).replace(/master\.m3u8.*/, '');
      for (let i = 0; i < 4; i += 1) await (await swarm.fetch(`${base}high/segment-0${i}.m4s`)).arrayBuffer();
      const { diskBytes } = swarm.stats();
      swarm.destroy();
      return { diskBytes, long: tasks.filter((duration) => duration > /** @type {number} */ (limit)) };
    },
    [stage.src('again'), { ...stage.swarm, ...PERSIST }, LONGEST_TASK_MS],
  );
  assert.ok(longest.diskBytes > 0);
  assert.deepEqual(longest.long, []);
});
