// @ts-check
/** A page without a player that fetches files through a swarm: `testFetcher`. For tests of what passes, not of what is seen. */

(() => {
  /** @type {any} */
  let swarm;
  /** @type {any[]} */
  const sharing = [];
  let done = 0;

  /** @param {{ options: object, master: string }} task */
  async function create({ options, master }) {
    // @ts-ignore: resolved by the page's import map
    const { Tabswarm } = await import('tabswarm');
    swarm = await Tabswarm.create(options);
    swarm.addEventListener('sharing', (/** @type {any} */ { detail }) => sharing.push(detail));
    await swarm.open(master);
  }

  /**
   * Fetches all of them, three at a time, and returns how many bytes came.
   * @param {{ urls: string[], deadlineMs: number }} task
   */
  async function fetchAll({ urls, deadlineMs }) {
    const left = [...urls];
    let bytes = 0;
    const worker = async () => {
      for (let url = left.shift(); url; url = left.shift()) {
        const response = await swarm.fetch(url, { deadlineMs });
        const { byteLength } = await response.arrayBuffer();
        bytes += byteLength;
        done += 1;
      }
    };
    await Promise.all([worker(), worker(), worker()]);
    return bytes;
  }

  const report = () => ({ stats: swarm.stats(), sharing, done, wire: /** @type {any} */ (globalThis).wireTap.report() });
  Object.assign(globalThis, { testFetcher: { create, fetchAll, report, destroy: () => swarm.destroy() } });
})();
