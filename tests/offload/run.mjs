// @ts-check
/** One run: a scenario with one plugin in fresh tabs, a fresh browser and fresh servers. */

import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { launchBrowser } from '../browser/harness/browser.mjs';
import { wrongPayloads } from '../browser/harness/hash.mjs';
import { Tab } from '../browser/harness/tab.mjs';
import { LiveStream } from './content/live.mjs';
import { endMs, LIVE_SEGMENTS, LIVE_WINDOW, SEGMENT_SECONDS } from './content/playlists.mjs';
import { prefixOf } from './content/signing.mjs';
import { STREAMS } from './content/streams.mjs';
import { CpuMeter, idle } from './measure/cpu.mjs';
import { PeakRate } from './measure/rate.mjs';
import { PAGE_PREFIX, startOrigin, startService, startTracker } from './servers.mjs';

/** @typedef {import('./measure/figures.mjs').Viewer} Viewer */
/** @typedef {import('./plugins.mjs').Plugin} Plugin */
/** @typedef {import('./scenarios.mjs').Scenario} Scenario */

/** Files with media. Everything else of a stream is overhead. */
const SEGMENTS = /\.m4s$/;
/** Live latency counts from here on. */
const SETTLED_MS = 10_000;
/** A viewer who gets a stream on demand slower than at half its speed is not waited for. */
const PATIENCE = 2;
/** How long after its end a live stream may still play: twice what a playlist holds. */
const LIVE_PATIENCE_SECONDS = 2 * LIVE_WINDOW * SEGMENT_SECONDS;
const SETTLE_LIMIT_MS = 20_000;
const HOSTILE_SCRIPT = fileURLToPath(new URL('page/hostile.js', import.meta.url));

/**
 * @typedef {object} Materials what runs are made with
 * @property {string} page directory of the built page
 * @property {Awaited<ReturnType<typeof import('./content/signing.mjs').signStreams>>} streams
 */

/** How long a scenario's stream takes to play, from a viewer's start. @param {Scenario} scenario */
function playSeconds({ stream }) {
  const { segments } = STREAMS[stream];
  return (stream === 'live' ? LIVE_SEGMENTS + 1 - LIVE_WINDOW : segments) * SEGMENT_SECONDS;
}

/** @param {Scenario} scenario */
function limitMs(scenario) {
  const seconds = playSeconds(scenario);
  return (scenario.stream === 'live' ? seconds + LIVE_PATIENCE_SECONDS : seconds * PATIENCE) * 1000;
}

/** What a run has open. */
class Run {
  /** @type {(() => unknown)[]} */
  #cleanups = [];

  /** @param {Scenario} scenario @param {Plugin} plugin @param {Materials} materials @param {number} tabs */
  constructor(scenario, plugin, materials, tabs) {
    this.scenario = scenario;
    this.plugin = plugin;
    this.materials = materials;
    this.count = tabs;
  }

  async measure() {
    const { scenario, plugin, materials } = this;
    const media = materials.streams[scenario.stream];
    const live = scenario.stream === 'live' ? this.#makeLive(media.dir) : undefined;
    // Others need no signature, and have the playlists as the packager writes them.
    const publisherKey = (plugin.page === 'tabswarm' && (await live?.sign(`${prefixOf('live')}master.m3u8`))) || media.publisherKey;
    const origin = await startOrigin(scenario, { page: materials.page, media: live?.dir ?? media.dir });
    this.#cleanups.push(() => origin.stop());
    const peak = new PeakRate();
    origin.onSent = ({ path }, bytes) => SEGMENTS.test(path) && peak.add(bytes, performance.now());
    const options = plugin.options(await this.#startServer(origin, publisherKey));
    const browser = await launchBrowser();
    this.#cleanups.push(() => browser.close());
    const tabs = await Promise.all(Array.from({ length: this.count }, (_, index) => this.#openTab(browser, origin, index + 1)));

    // Tabs that were just opened have things to do that no viewer waits for.
    await idle(SETTLE_LIMIT_MS);
    const cpu = new CpuMeter(await browser.newBrowserCDPSession());
    await cpu.start();
    const epochMs = await live?.start();
    const playing = this.#play(tabs, origin, { options, epochMs, limitMs: limitMs(scenario) });
    // While it is live: who is farther behind goes on for longer, with nothing left to fetch.
    const countedUntilMs = epochMs === undefined ? Infinity : endMs(epochMs);
    await (epochMs === undefined ? playing : Promise.race([playing, delay(countedUntilMs - Date.now())]));
    const cpuTimes = await cpu.stop();
    const reports = await playing;
    const viewers = tabs.map((tab, index) => this.#viewer(tab, index + 1, reports[index], origin, countedUntilMs));
    return {
      chromium: browser.version(),
      problems: tabs.flatMap(({ name, problems }) => problems.map((problem) => `${name}: ${problem}`)),
      counts: {
        viewers: viewers.filter((_, index) => !this.#misdeedOf(index + 1)),
        serviceBytes: origin.bytes({ viewer: null, path: SEGMENTS }),
        originPeakBytes: peak.peakBytes,
        cpu: cpuTimes,
        tabs: tabs.length,
      },
    };
  }

  /** Closes everything, the last first. */
  async close() {
    for (const cleanup of this.#cleanups.toReversed()) await cleanup();
  }

  /** @param {number} number */
  #misdeedOf(number) {
    return this.scenario.hostile?.[number];
  }

  /** @param {number} number */
  #leaves(number) {
    const { leaves } = this.scenario;
    return leaves !== undefined && number % leaves === 0;
  }

  /** @param {string} source directory of the finished stream */
  #makeLive(source) {
    const levels = STREAMS.live.levels.map(({ name }) => name);
    const live = new LiveStream(source, levels);
    this.#cleanups.push(() => live.stop());
    return live;
  }

  /** The file that a segment's URL leads to, whatever became of it since. @param {string} path */
  #fileOf(path) {
    const { stream } = this.scenario;
    return join(this.materials.streams[stream].dir, path.slice(prefixOf(stream).length));
  }

  /**
   * @param {import('../browser/harness/origin.mjs').Origin} origin
   * @param {string} publisherKey
   * @returns {Promise<import('./plugins.mjs').Surroundings>}
   */
  async #startServer(origin, publisherKey) {
    const around = { publisherKey, signaling: '', tracker: '' };
    if (this.plugin.server === 'tracker') {
      const tracker = await startTracker();
      this.#cleanups.push(() => tracker.stop());
      return { ...around, tracker: tracker.url };
    }
    if (this.plugin.server === 'service') {
      const state = mkdtempSync(join(tmpdir(), 'tabswarm-bench-state-'));
      this.#cleanups.push(() => rmSync(state, { recursive: true, force: true }));
      const service = await startService(state, this.plugin.attested ? origin.url() : undefined);
      this.#cleanups.push(() => service.kill());
      return { ...around, signaling: service.signaling };
    }
    return around;
  }

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {import('../browser/harness/origin.mjs').Origin} origin
   * @param {number} number
   */
  #openTab(browser, origin, number) {
    const misdeed = this.#misdeedOf(number);
    const query = new URLSearchParams({ plugin: this.plugin.page, ...(misdeed && { hostile: misdeed }) });
    const url = `${origin.url()}${PAGE_PREFIX}index.html?${query}`;
    return Tab.open(browser, url, { name: `v${number}`, scripts: misdeed ? [HOSTILE_SCRIPT] : [] });
  }

  /**
   * Lets all viewers play. Those who have seen the end stay, and may give, until everybody has.
   * @param {readonly Tab[]} tabs
   * @param {import('../browser/harness/origin.mjs').Origin} origin
   * @param {{ options: Record<string, unknown>, epochMs: number | undefined, limitMs: number }} config
   */
  async #play(tabs, origin, config) {
    const began = performance.now();
    /** @type {any[]} */
    const reports = [];
    const playing = tabs.map(async (tab, index) => {
      await delay(Math.max(0, began + index * this.scenario.joinIntervalMs - performance.now()));
      const src = `${origin.url()}${prefixOf(this.scenario.stream)}master.m3u8?viewer=${tab.name}`;
      await tab.start({ src, ...config });
      const over = tab.page.evaluate(() => /** @type {any} */ (globalThis).testPlayer.over());
      if (!this.#leaves(index + 1)) return over;
      await Promise.race([over, delay((playSeconds(this.scenario) / 2) * 1000)]);
      reports[index] = await tab.report();
      over.catch(() => undefined);
      // As a viewer does who goes elsewhere: the page hears of it.
      await tab.page.goto('about:blank');
    });
    await Promise.all(playing);
    return Promise.all(tabs.map((tab, index) => reports[index] ?? tab.report()));
  }

  /**
   * @param {Tab} tab
   * @param {number} number
   * @param {any} report
   * @param {import('../browser/harness/origin.mjs').Origin} origin
   * @param {number} countedUntilMs
   * @returns {Viewer}
   */
  #viewer(tab, number, { shown, latency, payloads, hlsErrors, ...report }, origin, countedUntilMs) {
    const viewer = tab.name;
    const countedSeconds = (countedUntilMs - report.beganWallMs - report.startMs) / 1000;
    const segmentBytes = origin.bytes({ viewer, path: SEGMENTS });
    const segments = payloads.filter((/** @type {any} */ { init }) => !init);
    const settled = latency.filter((/** @type {any} */ { afterMs }) => afterMs >= SETTLED_MS);
    return {
      ...report,
      playedSeconds: Math.min(report.playedSeconds, Math.max(0, countedSeconds)),
      name: viewer,
      leaves: this.#leaves(number),
      shown: shown.map((/** @type {any} */ one) => ({ ...one, bytes: statSync(this.#fileOf(one.path)).size })),
      latencies: settled.map((/** @type {any} */ { seconds }) => seconds),
      segments: segments.length,
      wrong: wrongPayloads(segments, (path) => this.#fileOf(path)).length,
      segmentBytes,
      otherBytes: origin.bytes({ viewer }) - segmentBytes,
      fatal: hlsErrors.filter((/** @type {any} */ { fatal }) => fatal).map((/** @type {any} */ { details }) => details),
    };
  }
}

/**
 * Makes one run.
 * @param {Scenario} scenario
 * @param {Plugin} plugin
 * @param {Materials} materials
 * @param {number} viewers where the scenario does not say
 */
export async function measureRun(scenario, plugin, materials, viewers) {
  const run = new Run(scenario, plugin, materials, scenario.viewers ?? viewers);
  try {
    return await run.measure();
  } finally {
    await run.close();
  }
}
