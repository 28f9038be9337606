// @ts-check
/** Viewers whose connections close now and then, so that they have to find others. */

import { Fetcher } from './fetcher.mjs';
import { buffering } from './stage.mjs';
import { until } from './wait.mjs';

/** @typedef {import('./stage.mjs').Stage} Stage */
/** @typedef {import('./tab.mjs').Tab} Tab */
/** @typedef {{ name: string, stats: any }} Viewer */
/** @typedef {{ service: number, mesh: number, lookups: number, found: number, made: number, passed: number }} Counts */

/** Viewers answer what others look up after a minute. */
const ANSWERS_MS = 120_000;

/** Connections introduced by each, swarms looked up, requests made and passed on, of all viewers. @param {Viewer[]} viewers @returns {Counts} */
function countsOf(viewers) {
  /** @param {string} counter */
  const sum = (counter) => viewers.reduce((total, { stats }) => total + stats.mesh[counter], 0);
  return {
    service: sum('introducedByService'),
    mesh: sum('introducedByMesh'),
    lookups: sum('lookups'),
    found: sum('lookupsFound'),
    made: sum('requestsMade'),
    passed: sum('requestsPassed'),
  };
}

/** @param {Counts} now @param {Counts} then @returns {Counts} */
function since(now, then) {
  const difference = { ...now };
  for (const key of /** @type {(keyof Counts)[]} */ (Object.keys(now))) difference[key] -= then[key];
  return difference;
}

/** The viewers. */
export class Churn {
  /** @param {Tab[]} tabs @param {Tab[]} players those that play, among the tabs */
  constructor(tabs, players) {
    this.tabs = tabs;
    this.players = players;
  }

  /**
   * Opens viewers, of whom some play, slowly, so that the picture goes on for long, and waits until all answer what is looked up.
   * @param {Stage} stage
   * @param {{ fetchers: number, players: number, rate?: number, swarm?: object }} options `swarm`: options of `Tabswarm.create`
   */
  static async open(stage, { fetchers, players, rate = 0.25, swarm = {} }) {
    const tabs = [];
    const playing = [];
    for (let number = 0; number < fetchers; number += 1) tabs.push((await Fetcher.open(stage, `f${number}`, { swarm })).tab);
    const options = { swarm: { start: 'economy', ...swarm }, hls: buffering(8), rate };
    for (let number = 0; number < players; number += 1) playing.push(await stage.play(`p${number}`, options));
    const churn = new Churn([...tabs, ...playing], playing);
    await churn.#until('all answer', (viewers) => viewers.every(({ stats }) => stats.mesh.answers && stats.peers.length > 1), ANSWERS_MS);
    return churn;
  }

  /** @returns {Promise<Viewer[]>} */
  look() {
    const stats = () => {
      const { testFetcher, testPlayer } = /** @type {any} */ (globalThis);
      return testPlayer.swarm?.stats() ?? testFetcher.report().stats;
    };
    return Promise.all(this.tabs.map(async ({ name, page }) => ({ name, stats: await page.evaluate(stats) })));
  }

  /**
   * Has connections close, one after the other, until so many others were made, and says how.
   * @param {number} connections
   * @param {number} [limitMs]
   */
  async replace(connections, limitMs = 240_000) {
    const before = countsOf(await this.look());
    const after = await this.#until(`${connections} more connections`, async (viewers) => {
      const { service, mesh } = since(countsOf(viewers), before);
      const open = viewers.map(({ stats }) => stats.peers.filter((/** @type {any} */ { state }) => state === 'open').length);
      // Nobody is to lose everybody: who knows nobody is for the service.
      const { page } = this.tabs[Math.floor(Math.random() * this.tabs.length)] ?? {};
      if (open.every((count) => count > 2)) await page?.evaluate(() => /** @type {any} */ (globalThis).wireTap.drop());
      return service + mesh >= connections;
    }, limitMs);
    return since(countsOf(after), before);
  }

  /** @param {string} what @param {(viewers: Viewer[]) => unknown} is @param {number} limitMs */
  #until(what, is, limitMs) {
    const look = async () => {
      const viewers = await this.look();
      return (await is(viewers)) ? viewers : undefined;
    };
    const dump = async () => (await this.look()).map(({ name, stats: { mesh, peers } }) => ({ name, ...mesh, peers: peers.length }));
    return until(what, look, { limitMs, dump });
  }
}
