// @ts-check
/** Waiting for what happens, never for time to pass. */

import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds between two looks. */
const POLL_MS = 50;

/**
 * Looks until `probe` returns something truthy and returns that.
 * @template T
 * @param {string} what for the error
 * @param {() => T | Promise<T>} probe
 * @param {{ limitMs?: number, dump?: () => unknown }} [options] `dump`: what the error shows of the state at the end
 * @returns {Promise<NonNullable<T>>}
 */
export async function until(what, probe, { limitMs = 60_000, dump } = {}) {
  const end = performance.now() + limitMs;
  for (;;) {
    const found = await probe();
    if (found) return /** @type {NonNullable<T>} */ (found);
    if (performance.now() > end) {
      const state = dump ? `\n${JSON.stringify(await dump(), null, 1)}` : '';
      throw new Error(`not within ${limitMs / 1000} s: ${what}${state}`);
    }
    await delay(POLL_MS);
  }
}
