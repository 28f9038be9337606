// @ts-check
/** After seeks the picture stands no longer than with hls.js alone. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { standsNoLonger, standstills } from './harness/standstill.mjs';

/** @typedef {import('./harness/tab.mjs').Tab} Tab */

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** Numbers from 0 to 1, the same on every run. @param {number} seed */
function random(seed) {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

test('20 random seeks', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const first = await stage.play('v1', { hls: buffering(60) });
  await first.until('loaded the stream', ({ fragments }) => fragments.length >= 30);
  // As far away as a CDN is.
  stage.origin.limit({ delayMs: 50 });
  const [plain, swarm] = await Promise.all(
    ['plain', 'swarm'].map(async (name) => {
      const tab = await stage.open(name, { scripts: ['standstill.js'] });
      await tab.start({ src: stage.src(name), swarm: name === 'plain' ? null : stage.swarm, level: 1, hls: buffering(6) });
      return tab;
    }),
  );
  await swarm.until('shares', ({ stats }) => stats.peerBytes > 0);
  await plain.until('plays', ({ position }) => position > 0.5);
  const next = random(20);
  const positions = Array.from({ length: 20 }, () => next() * 55);
  const storm = (/** @type {Tab} */ tab) =>
    tab.page.evaluate(async (places) => {
      for (const place of places) await /** @type {any} */ (globalThis).standstill.seek(place);
    }, positions);
  await Promise.all([storm(plain), storm(swarm)]);

  const report = await swarm.report();
  assert.equal((await standstills(swarm)).filter(({ why }) => why === 'seeking').length, 20);
  assert.deepEqual(stage.wrong(report), []);
  assert.ok(report.wire.traffic.received.payload > 0);
  await standsNoLonger(t, plain, swarm);
});
