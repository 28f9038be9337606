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

/** What it says of itself: kept to find out why, no figure comes of it. */
export const diagnosis = () => events;
