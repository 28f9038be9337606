// @ts-check
/** How long a plugin waits for peers before it asks the origin, by its own word: to find out why, no figure of the tables. */

/** Times of one page, of two clocks that differ by less. */
const CLOCKS_MS = 20;

/** @typedef {{ atMs: number, type: string, detail: any }} Happening see page/plugins/tabswarm.js */

/**
 * From the request for each segment that the origin had to do with to the first HTTP request for it, in milliseconds.
 * @param {readonly Happening[]} diagnosis
 */
export function httpWaits(diagnosis) {
  const fetched = diagnosis.filter(({ type }) => type === 'fetched');
  return diagnosis
    .filter(({ type, detail }) => type === 'segment-loaded' && detail.fromOrigin > 0)
    .flatMap(({ atMs, detail: { url, durationMs } }) => {
      const askedMs = atMs - durationMs;
      const path = new URL(url).pathname;
      const begun = fetched.filter(({ atMs: at, detail }) => detail.name === path && at >= askedMs - CLOCKS_MS);
      return begun.length > 0 ? [Math.max(0, Math.min(...begun.map(({ atMs: at }) => at)) - askedMs)] : [];
    });
}
