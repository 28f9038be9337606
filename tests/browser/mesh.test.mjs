// @ts-check
/** Viewers find and call each other over the connections they have, and go on when the service is gone. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { Fetcher } from './harness/fetcher.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';
import { until } from './harness/wait.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const FETCHERS = 6;
/** Viewers answer what others look up after a minute. */
const ANSWERS_MS = 120_000;
/** Connections that are made after the first ones, with the service and then without it. */
const WITH_SERVICE = 40;
const WITHOUT_SERVICE = 20;

/** @typedef {{ name: string, stats: any }} Viewer */

/** @param {Viewer[]} viewers @param {(stats: any) => number} number */
const sum = (viewers, number) => viewers.reduce((total, { stats }) => total + number(stats), 0);

/** @param {Viewer[]} viewers */
const counts = (viewers) => ({
  service: sum(viewers, ({ mesh }) => mesh.introducedByService),
  mesh: sum(viewers, ({ mesh }) => mesh.introducedByMesh),
  lookups: sum(viewers, ({ mesh }) => mesh.lookups),
  found: sum(viewers, ({ mesh }) => mesh.lookupsFound),
  made: sum(viewers, ({ mesh }) => mesh.requestsMade),
  passed: sum(viewers, ({ mesh }) => mesh.requestsPassed),
});

/** @param {ReturnType<typeof counts>} now @param {ReturnType<typeof counts>} then */
const since = (now, then) => {
  const difference = { ...now };
  for (const key of /** @type {(keyof typeof now)[]} */ (Object.keys(now))) difference[key] -= then[key];
  return difference;
};

test('viewers find and call each other over the mesh, without the service too', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const swarm = { start: 'economy' };
  const tabs = [];
  for (let number = 0; number < FETCHERS; number += 1) tabs.push((await Fetcher.open(stage, `f${number}`, { swarm })).tab);
  // Slow ones, so that the picture goes on for long enough.
  const players = [];
  for (const name of ['p0', 'p1']) players.push(await stage.play(name, { swarm, hls: buffering(8), rate: 0.25 }));
  const pages = [...tabs, ...players];

  /** @returns {Promise<Viewer[]>} */
  const look = () =>
    Promise.all(
      pages.map(async ({ name, page }) => {
        const stats = await page.evaluate(() => {
          const { testFetcher, testPlayer } = /** @type {any} */ (globalThis);
          return testPlayer.swarm?.stats() ?? testFetcher.report().stats;
        });
        return { name, stats };
      }),
    );
  const dump = async () => (await look()).map(({ name, stats: { mesh, peers } }) => ({ name, ...mesh, peers: peers.length }));
  /** @param {string} what @param {(viewers: Viewer[]) => unknown} is @param {number} limitMs */
  const seen = (what, is, limitMs) =>
    until(what, async () => {
      const viewers = await look();
      return (await is(viewers)) ? viewers : undefined;
    }, { limitMs, dump });
  /** Has connections close until so many more were made. @param {ReturnType<typeof counts>} then @param {number} more */
  const churn = (then, more) =>
    seen(`${more} more connections`, async (viewers) => {
      const { service, mesh } = since(counts(viewers), then);
      const open = viewers.map(({ stats }) => stats.peers.filter((/** @type {any} */ { state }) => state === 'open').length);
      // Nobody is to lose everybody: who knows nobody is for the service.
      const { page } = pages[Math.floor(Math.random() * pages.length)] ?? {};
      if (open.every((count) => count > 2)) await page?.evaluate(() => /** @type {any} */ (globalThis).wireTap.drop());
      return service + mesh >= more;
    }, 240_000);

  const formed = await seen('all answer', (viewers) => viewers.every(({ stats }) => stats.mesh.answers && stats.peers.length > 1), ANSWERS_MS);

  const first = counts(formed);
  const made = since(counts(await churn(first, WITH_SERVICE)), first);
  t.diagnostic(`with the service: ${JSON.stringify(made)}`);
  assert.ok(made.service < 0.05 * (made.service + made.mesh), `${made.service} of ${made.service + made.mesh} by the service`);
  assert.ok(made.found >= 0.99 * made.lookups, `${made.found} of ${made.lookups} found`);

  await stage.service.kill();
  const second = counts(await look());
  const alone = since(counts(await churn(second, WITHOUT_SERVICE)), second);
  t.diagnostic(`without the service: ${JSON.stringify(alone)}`);
  assert.equal(alone.service, 0);
  assert.ok(alone.found >= 0.99 * alone.lookups, `${alone.found} of ${alone.lookups} found`);

  for (const player of players) {
    const report = await player.report();
    assert.deepEqual(stage.wrong(report), []);
    assert.deepEqual(report.stalls, [], timeline(report));
    assert.ok(report.position > 10 && !report.done, `at ${report.position} s`);
  }
  for (const tab of pages) assert.deepEqual(tab.problems.filter((problem) => !problem.includes('WebSocket')), []);
});
