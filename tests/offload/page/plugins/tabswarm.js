// @ts-check
/** tabswarm beside hls.js, put in as its README shows. */

import Hls from 'hls.js';
import { Tabswarm } from 'tabswarm/hls';

/** @param {Record<string, unknown>} options of `Tabswarm.create` */
export async function createPlayer(options) {
  const swarm = await Tabswarm.create(options);
  const hls = new Hls();
  swarm.attach(hls);
  Object.assign(globalThis, { swarm });
  return hls;
}
