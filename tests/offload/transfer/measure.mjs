// @ts-check
/** Two tabs, one of which has everything: what the swarm brings the other a second, and what a bare data channel does. */

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { launchBrowser } from '../../browser/harness/browser.mjs';
import { sha256 } from '../../browser/harness/hash.mjs';
import { Origin } from '../../browser/harness/origin.mjs';
import { publish } from '../../browser/harness/publish.mjs';
import { Service } from '../../browser/harness/service.mjs';
import { bulkStream } from '../../browser/harness/streams.mjs';
import { newPage } from '../../browser/harness/tab.mjs';
import { until } from '../../browser/harness/wait.mjs';
import { CpuMeter } from '../measure/cpu.mjs';
import { closeBare, completeBare, connectBare, fetchAll, giveBare, openPeers, openSwarm, showFetched, takeBare } from './in-page.mjs';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {import('playwright-core').Page} Page */

export const SEGMENT_BYTES = 4_000_000;
export const SEGMENTS = 50;
/** Segments that the tab asks for at a time, as a player that fills its buffer with a little ahead. */
const AT_ONCE = 3;
/** When each is needed: soon, so that they come in order, and not so soon that the origin is asked. */
const DEADLINE_MS = 3000;
/** The giver keeps all of it. */
const CACHE_BYTES = 2 * SEGMENTS * SEGMENT_BYTES;
const MEDIA = '/media/';
/** What the swarm lets a bulk channel hold: `BULK_LOW` and `next_upload` of the core. */
const BUFFERING = { low: 16 * 1024, least: 64 * 1024, seconds: 0.1 };
/** Bytes of a message on the bare channel. */
export const FRAMES = [16 * 1024, 64 * 1024];

/**
 * @typedef {object} Transfer one way of bringing the bytes over
 * @property {number} bytesPerSecond
 * @property {number} cpuPer100MB seconds of all processes of both tabs' browsers
 */

/**
 * @typedef {object} Round
 * @property {Transfer} swarm
 * @property {Transfer[]} bare in the order of `FRAMES`
 */

/** The stage: an origin with the stream, a service, a tab that has everything. */
export class Stage {
  /** @type {(() => unknown)[]} */
  #cleanups = [];
  /** @type {Browser[]} where the tabs are: the giver's is the first */
  #browsers = [];
  /** @type {Page | undefined} */
  #giver;

  /**
   * @param {Origin} origin
   * @param {Service} service
   * @param {{ names: string[], hashes: string[], publisherKey: string | undefined }} stream
   */
  constructor(origin, service, stream) {
    this.origin = origin;
    this.service = service;
    this.stream = stream;
  }

  /** @param {number} browsers one for both tabs, or two */
  static async open(browsers) {
    const dir = mkdtempSync(join(tmpdir(), 'tabswarm-transfer-'));
    const media = join(dir, 'media');
    const names = bulkStream(media, SEGMENTS, SEGMENT_BYTES);
    const hashes = names.map((name) => sha256(readFileSync(join(media, name))));
    const publisherKey = await publish(media, 'signed', { stream: `${MEDIA}master.m3u8`, keyFile: join(dir, 'key') });
    const origin = await Origin.start({ [MEDIA]: media });
    const service = await Service.start(['serve', '--state-dir', join(dir, 'state')]);
    const stage = new Stage(origin, service, { names, hashes, publisherKey });
    stage.#cleanups.push(() => rmSync(dir, { recursive: true, force: true }), () => origin.stop(), () => service.kill());
    try {
      for (let count = 0; count < browsers; count += 1) {
        const browser = await launchBrowser();
        stage.#cleanups.push(() => browser.close());
        stage.#browsers.push(browser);
      }
      stage.#giver = await stage.#join('giver');
      await stage.#fetch(stage.#giver, 'giver');
    } catch (error) {
      await stage.close();
      throw error;
    }
    return stage;
  }

  /** One tab after the other takes everything from the one that has it; the bare channel's turns are before and after. */
  async round() {
    const page = await this.#openPage('taker');
    try {
      const small = await this.#bare(page, FRAMES[0]);
      const swarm = await this.#swarm(page);
      const large = await this.#bare(page, FRAMES[1]);
      return /** @type {Round} */ ({ swarm, bare: [small, large] });
    } finally {
      await page.context().close();
    }
  }

  async close() {
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
  }

  /** @param {Page} page */
  async #swarm(page) {
    await page.evaluate(openSwarm, this.#task('taker'));
    await until('the tabs are connected', () => page.evaluate(openPeers));
    const { took, cpuSeconds } = await this.#metered(() => this.#fetch(page, 'taker'));
    // Out of the measured time: hashing costs what the transfer does not.
    const { hashes, deliveries, stats } = await page.evaluate(showFetched);
    assert.deepEqual(hashes, this.stream.hashes, 'all bytes are right');
    assert.ok(deliveries.length === SEGMENTS && deliveries.every((/** @type {string} */ one) => one === 'verified'), 'everything was verified');
    assert.equal(stats.peerBytes, SEGMENTS * SEGMENT_BYTES, 'everything came from the other tab');
    assert.equal(this.origin.bytes({ viewer: 'taker', path: /\.ts$/ }), 0, 'nothing came from the origin');
    return transfer(took, cpuSeconds);
  }

  /** @param {Page} taker @param {number} frame */
  async #bare(taker, frame) {
    const giver = /** @type {Page} */ (this.#giver);
    const bytes = SEGMENTS * SEGMENT_BYTES;
    const answer = await taker.evaluate(connectBare, await giver.evaluate(connectBare, undefined));
    await giver.evaluate(completeBare, answer);
    await giver.evaluate(giveBare, { bytes, frame, ...BUFFERING });
    const { took, cpuSeconds } = await this.#metered(() => taker.evaluate(takeBare, { bytes }));
    for (const page of [taker, giver]) await page.evaluate(closeBare);
    return transfer(took, cpuSeconds);
  }

  /** @param {'giver' | 'taker'} viewer */
  #openPage(viewer) {
    const browser = viewer === 'giver' ? this.#browsers[0] : this.#browsers[this.#browsers.length - 1];
    return newPage(browser, []).then(async (page) => {
      await page.goto(this.origin.page);
      return page;
    });
  }

  /** @param {'giver' | 'taker'} viewer */
  async #join(viewer) {
    const page = await this.#openPage(viewer);
    await page.evaluate(openSwarm, this.#task(viewer));
    return page;
  }

  /** @param {'giver' | 'taker'} viewer */
  #task(viewer) {
    const { publisherKey } = this.stream;
    const { signaling } = this.service;
    const options = { signaling, roots: 'signed', publisherKey, start: 'economy', cacheLimitBytes: CACHE_BYTES };
    return { options, master: this.#url('master.m3u8', viewer) };
  }

  /** @param {Page} page @param {'giver' | 'taker'} viewer */
  #fetch(page, viewer) {
    const urls = this.stream.names.map((name) => this.#url(name, viewer));
    return page.evaluate(fetchAll, { urls, atOnce: AT_ONCE, deadlineMs: DEADLINE_MS });
  }

  /** @param {string} name @param {string} viewer */
  #url(name, viewer) {
    return `${this.origin.url()}${MEDIA}${name}?viewer=${viewer}`;
  }

  /**
   * @template T
   * @param {() => Promise<T>} act
   */
  async #metered(act) {
    const meters = await Promise.all(this.#browsers.map(async (browser) => new CpuMeter(await browser.newBrowserCDPSession())));
    await Promise.all(meters.map((meter) => meter.start()));
    const took = await act();
    const times = await Promise.all(meters.map((meter) => meter.stop()));
    return { took, cpuSeconds: times.reduce((sum, { browserSeconds }) => sum + browserSeconds, 0) };
  }
}

/** @param {number} ms @param {number} cpuSeconds @returns {Transfer} */
function transfer(ms, cpuSeconds) {
  const bytes = SEGMENTS * SEGMENT_BYTES;
  return { bytesPerSecond: (bytes * 1000) / ms, cpuPer100MB: (cpuSeconds * 1e8) / bytes };
}
