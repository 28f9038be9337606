// @ts-check
/** A tab that fetches files of a stage's stream through a swarm, without a player; see page/fetcher.js. */

import { until } from './wait.mjs';

/** @typedef {import('./stage.mjs').Stage} Stage */

export class Fetcher {
  /** @param {Stage} stage @param {import('./tab.mjs').Tab} tab */
  constructor(stage, tab) {
    this.tab = tab;
    this.page = tab.page;
    this.#stage = stage;
  }

  #stage;

  /**
   * @param {Stage} stage
   * @param {string} name
   * @param {{ swarm?: object, scripts?: readonly string[], prepare?: (page: import('playwright-core').Page) => Promise<unknown> }} [options]
   *   `swarm`: options of `Tabswarm.create`, added to the stage's; `prepare` runs before the swarm is made
   */
  static async open(stage, name, { swarm = {}, scripts = [], prepare } = {}) {
    const tab = await stage.open(name, { scripts: ['fetcher.js', ...scripts] });
    await prepare?.(tab.page);
    const fetcher = new Fetcher(stage, tab);
    const task = { options: { ...stage.swarm, start: 'economy', ...swarm }, master: stage.src(name) };
    await tab.page.evaluate((given) => /** @type {any} */ (globalThis).testFetcher.create(given), task);
    return fetcher;
  }

  /**
   * Fetches files of the stream, by name, and returns how many bytes came.
   * @param {readonly string[]} names
   * @param {number} [deadlineMs]
   * @returns {Promise<number>}
   */
  fetch(names, deadlineMs = 10_000) {
    const urls = names.map((name) => this.#stage.src(this.tab.name).replace('master.m3u8', name));
    const task = { urls, deadlineMs };
    return this.page.evaluate((given) => /** @type {any} */ (globalThis).testFetcher.fetchAll(given), task);
  }

  /** @returns {Promise<any>} */
  report() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).testFetcher.report());
  }

  /**
   * @param {string} what
   * @param {(report: any) => unknown} test
   * @param {number} [limitMs]
   */
  until(what, test, limitMs) {
    const look = async () => {
      const report = await this.report();
      return test(report) ? report : undefined;
    };
    return until(`${this.tab.name}: ${what}`, look, { limitMs, dump: () => this.report() });
  }

  /** Until there is a connection to share on. */
  connected() {
    return this.until('connected', ({ stats }) => stats.peers.some((/** @type {any} */ { state }) => state === 'open'));
  }
}
