// @ts-check
/**
 * A dozen viewers whose connections are few and close again and again: who introduces them to others, and whether all goes on without the
 * service. Prints what was counted; `cargo xtask bench mesh`.
 */

import { launchBrowser } from './harness/browser.mjs';
import { Churn } from './harness/churn.mjs';
import { Stage } from './harness/stage.mjs';

const FETCHERS = 10;
const PLAYERS = 2;
const MAX_CONNECTIONS = 4;
/** As slow as Chromium plays: a minute lasts for sixteen. */
const RATE = 0.0625;
const WITH_SERVICE = 200;
const WITHOUT_SERVICE = 60;
const LIMIT_MS = 1_800_000;

/** @type {(() => unknown)[]} */
const endings = [];
const context = /** @type {import('node:test').TestContext} */ (/** @type {unknown} */ ({ after: (/** @type {() => unknown} */ end) => endings.push(end) }));

/** @param {string} when @param {import('./harness/churn.mjs').Counts} counts */
function print(when, { service, mesh, lookups, found, made, passed }) {
  const share = (100 * service) / (service + mesh);
  const hops = made > 0 ? (made + passed) / made : 0;
  console.log(`${when}: ${service + mesh} connections, ${share.toFixed(1)} % by the service; ${found} of ${lookups} lookups found; ${hops.toFixed(2)} hops a request`);
}

const browser = await launchBrowser();
try {
  const stage = await Stage.open(context, browser, 'signed');
  const churn = await Churn.open(stage, { fetchers: FETCHERS, players: PLAYERS, rate: RATE, swarm: { maxConnections: MAX_CONNECTIONS } });
  print('with the service', await churn.replace(WITH_SERVICE, LIMIT_MS));
  await stage.service.kill();
  print('without it', await churn.replace(WITHOUT_SERVICE, LIMIT_MS));
  for (const player of churn.players) {
    const { stalls, position, stats } = await player.report();
    console.log(`${player.name}: ${stalls.length} stalls, at ${position.toFixed(0)} s, ${(100 * stats.offload).toFixed(1)} % from peers`);
  }
} finally {
  for (const end of endings.reverse()) await end();
  await browser.close();
}
