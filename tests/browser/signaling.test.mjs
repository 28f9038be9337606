// @ts-check
/** The service may go: viewers who have met go on sharing, and come back to it when it is there again. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';
import { until } from './harness/wait.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const VIEWERS = ['v1', 'v2', 'v3', 'v4'];
const REJOIN_LIMIT_MS = 35_000;
/** Bytes from peers that all four together have to take while the service is gone: a dozen segments. */
const TRADED_WHILE_GONE = 1_000_000;

test('with the service killed mid-play four tabs go on sharing, and rejoin when it is back', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const first = await stage.play('v1', { hls: buffering(10) });
  await first.until('plays', ({ position }) => position > 1);
  const others = await Promise.all(VIEWERS.slice(1).map((name) => stage.play(name, { hls: buffering(8) })));
  const tabs = [first, ...others];
  const reports = () => Promise.all(tabs.map((tab) => tab.report()));
  const peerBytes = async () => (await reports()).reduce((sum, { stats }) => sum + stats.peerBytes, 0);
  for (const tab of tabs) {
    await tab.until('plays with peers', ({ position, stats }) => position > 4 && stats.peers.some(isOpen));
  }

  await stage.service.kill();
  for (const tab of tabs) await tab.until('noticed', ({ stats }) => stats.signaling !== 'open');
  const before = await peerBytes();
  const originBefore = stage.origin.bytes({ path: /\.m4s$/ });
  await until(
    'sharing goes on without the service',
    async () => (await peerBytes()) - before > TRADED_WHILE_GONE,
    { dump: async () => (await reports()).map(({ position, stats }) => ({ position, stats })) },
  );
  const fromPeers = (await peerBytes()) - before;
  const fromOrigin = stage.origin.bytes({ path: /\.m4s$/ }) - originBefore;
  assert.ok(fromPeers > fromOrigin, `${fromPeers} from peers, ${fromOrigin} from the origin while the service was gone`);

  const back = performance.now();
  await stage.service.run();
  for (const tab of tabs) {
    await tab.until('rejoined', ({ stats }) => stats.signaling === 'open' && stats.viewers === tabs.length, REJOIN_LIMIT_MS);
  }
  const took = performance.now() - back;
  assert.ok(took <= REJOIN_LIMIT_MS, `rejoining took ${took} ms`);

  for (const tab of tabs) {
    const report = await tab.report();
    assert.deepEqual(report.stalls, [], `${tab.name}${timeline(report)}`);
    assert.deepEqual(stage.wrong(report), [], tab.name);
    assert.ok(!report.done, 'all this happened while it played');
  }
});

/** @param {any} peer */
function isOpen(peer) {
  return peer.state === 'open';
}
