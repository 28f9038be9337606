// @ts-check
/** The servers of a run: the origin, and what a plugin needs besides. */

import Tracker from 'bittorrent-tracker/server';
import { Origin } from '../browser/harness/origin.mjs';
import { Service } from '../browser/harness/service.mjs';
import { prefixOf } from './content/signing.mjs';
import { bytesPerSecond } from './content/streams.mjs';
import { ORIGIN_DELAY_MS } from './scenarios.mjs';

/** URL prefix of the viewers' page. */
export const PAGE_PREFIX = '/bench/';

/**
 * The origin with one stream on it.
 * @param {import('./scenarios.mjs').Scenario} scenario
 * @param {{ page: string, media: string }} dirs
 */
export async function startOrigin({ stream, capacity }, { page, media }) {
  const prefix = prefixOf(stream);
  const origin = await Origin.start({ [prefix]: media });
  origin.mount(PAGE_PREFIX, `${page}/`);
  origin.limit({ delayMs: ORIGIN_DELAY_MS, ...(capacity && { bytesPerSecond: bytesPerSecond(stream) * capacity }) });
  return origin;
}

/** A WebTorrent tracker for p2p-media-loader. @returns {Promise<{ url: string, stop(): Promise<void> }>} */
export async function startTracker() {
  const tracker = new Tracker({ http: false, stats: false, udp: false, ws: true });
  await new Promise((resolve, reject) => {
    tracker.on('error', reject);
    tracker.listen(0, '127.0.0.1', () => resolve(undefined));
  });
  return {
    url: `ws://127.0.0.1:${tracker.ws.address().port}`,
    stop: () => new Promise((resolve) => tracker.close(resolve)),
  };
}

/**
 * tabswarm's service.
 * @param {string} stateDir
 * @param {string | undefined} attested origin whose segments it attests
 */
export function startService(stateDir, attested) {
  const attest = attested ? ['--attest-origin', attested, '--allow-private-origin'] : [];
  return Service.start(['serve', '--state-dir', stateDir, ...attest]);
}
