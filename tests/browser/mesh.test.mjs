// @ts-check
/** Viewers find and call each other over the connections they have, and go on when the service is gone. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { Churn } from './harness/churn.mjs';
import { Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** Connections that are made after the first ones, with the service and then without it. */
const WITH_SERVICE = 40;
const WITHOUT_SERVICE = 20;

test('viewers find and call each other over the mesh, without the service too', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const churn = await Churn.open(stage, { fetchers: 6, players: 2 });

  const made = await churn.replace(WITH_SERVICE);
  t.diagnostic(`with the service: ${JSON.stringify(made)}`);
  assert.ok(made.service < 0.05 * (made.service + made.mesh), `${made.service} of ${made.service + made.mesh} by the service`);
  assert.ok(made.found >= 0.99 * made.lookups, `${made.found} of ${made.lookups} found`);

  await stage.service.kill();
  const alone = await churn.replace(WITHOUT_SERVICE);
  t.diagnostic(`without the service: ${JSON.stringify(alone)}`);
  assert.equal(alone.service, 0);
  assert.ok(alone.found >= 0.99 * alone.lookups, `${alone.found} of ${alone.lookups} found`);

  for (const player of churn.players) {
    const report = await player.report();
    assert.deepEqual(stage.wrong(report), []);
    assert.deepEqual(report.stalls, [], timeline(report));
    assert.ok(report.position > 10 && !report.done, `at ${report.position} s`);
  }
  for (const tab of churn.tabs) assert.deepEqual(tab.problems.filter((problem) => !problem.includes('WebSocket')), []);
});
