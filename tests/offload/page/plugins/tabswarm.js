// @ts-check
/** tabswarm beside hls.js, put in as its README shows. */

import Hls from 'hls.js';
import { Tabswarm } from 'tabswarm/hls';

/** @type {{ atMs: number, type: string, detail: unknown }[]} */
const events = [];

/** @param {Record<string, unknown>} options of `Tabswarm.create` */
export async function createPlayer(options) {
  const swarm = await Tabswarm.create(options);
  for (const type of /** @type {const} */ (['peer-banned', 'peer-connect', 'segment-loaded'])) {
    swarm.addEventListener(type, ({ detail }) => events.push({ atMs: performance.now(), type, detail }));
  }
  const hls = new Hls();
  swarm.attach(hls);
  return hls;
}

/** What it says of itself, and what was fetched when: kept to find out why, no figure comes of it. */
export function diagnosis() {
  const fetched = performance.getEntriesByType('resource').map((entry) => {
    const { encodedBodySize, name, startTime, responseEnd } = /** @type {PerformanceResourceTiming} */ (entry);
    return { atMs: startTime, type: 'fetched', detail: { name: new URL(name).pathname, endMs: responseEnd, bytes: encodedBodySize } };
  });
  return [...events, ...fetched];
}
