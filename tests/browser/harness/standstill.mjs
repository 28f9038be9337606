// @ts-check
/** How long the picture stands in a tab, beside one with hls.js alone; the tabs have the script page/standstill.js. */

import assert from 'node:assert/strict';

/** @typedef {import('./tab.mjs').Tab} Tab */

/** Milliseconds that the picture may stand longer than hls.js alone has it stand. */
const MAX_LONGER_MS = 1000;

/** @param {Tab} tab @returns {Promise<{ why: string, atMs: number, position: number, ms: number }[]>} */
export const standstills = (tab) => tab.page.evaluate(() => /** @type {any} */ (globalThis).standstill.report());

/** @param {Tab} tab */
async function longest(tab) {
  return Math.max(0, ...(await standstills(tab)).map(({ ms }) => ms));
}

/** @param {import('node:test').TestContext} t @param {Tab} plain @param {Tab} swarm */
export async function standsNoLonger(t, plain, swarm) {
  const [allowed, stood] = [await longest(plain), await longest(swarm)];
  t.diagnostic(`the longest standstill: ${Math.round(stood)} ms, of hls.js alone ${Math.round(allowed)} ms`);
  assert.ok(stood <= allowed + MAX_LONGER_MS, JSON.stringify(await standstills(swarm)));
}
