// @ts-check
/** A viewer's tab on the test page. */

import { resolve } from 'node:path';
import { newViewer } from './browser.mjs';
import { PAGE_DIR } from './paths.mjs';
import { until } from './wait.mjs';

/** @typedef {import('playwright-core').Page} Page */

/**
 * A page in a context of its own, with scripts of page/, or of absolute paths, that run before the page's own.
 * @param {import('playwright-core').Browser} browser
 * @param {readonly string[]} scripts
 * @param {{ hidden?: boolean }} [viewer] see `newViewer`
 * @returns {Promise<Page>}
 */
export async function newPage(browser, scripts, viewer) {
  const context = await newViewer(browser, viewer);
  for (const name of scripts) await context.addInitScript({ path: resolve(PAGE_DIR, name) });
  return context.newPage();
}

/**
 * What happened in a tab, a line an event, for the message of an assertion.
 * @param {any} report
 */
export function timeline({ events, stalls }) {
  const all = [...events, ...stalls.map((/** @type {any} */ { atMs, ...detail }) => ({ type: 'STALL', atMs, detail }))];
  const lines = all
    .sort((a, b) => a.atMs - b.atMs)
    .map(({ type, atMs, detail }) => `${(atMs / 1000).toFixed(2).padStart(8)} ${type} ${JSON.stringify(detail)}`);
  return `\n${lines.join('\n')}\n`;
}

/** What every tab on the test page has. */
const SCRIPTS = ['recorder.js', 'wire-tap.js'];

/** A tab on the test page. */
export class Tab {
  /** @type {string[]} what the page said went wrong */
  problems = [];

  /** @param {Page} page @param {string} name */
  constructor(page, name) {
    this.page = page;
    this.name = name;
    page.on('pageerror', (error) => this.problems.push(`pageerror: ${error.message}`));
    page.on('console', (message) => {
      if (message.type() === 'error') this.problems.push(`console: ${message.text()}`);
    });
  }

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {string} pageUrl
   * @param {{ name?: string, scripts?: readonly string[], hidden?: boolean }} [options]
   */
  static async open(browser, pageUrl, { name = 'tab', scripts = [], hidden } = {}) {
    return Tab.on(await newPage(browser, [...SCRIPTS, ...scripts], { hidden }), pageUrl, name);
  }

  /**
   * A tab beside others in a window, see `launchWindow`.
   * @param {import('playwright-core').BrowserContext} context
   * @param {string} pageUrl
   * @param {{ name?: string, scripts?: readonly string[] }} [options]
   */
  static async beside(context, pageUrl, { name = 'tab', scripts = [] } = {}) {
    const page = await context.newPage();
    for (const script of [...SCRIPTS, ...scripts]) await page.addInitScript({ path: resolve(PAGE_DIR, script) });
    return Tab.on(page, pageUrl, name);
  }

  /** @param {Page} page @param {string} pageUrl @param {string} name */
  static async on(page, pageUrl, name) {
    const tab = new Tab(page, name);
    await page.goto(pageUrl);
    await page.waitForFunction('globalThis.testPlayer !== undefined');
    return tab;
  }

  /** Loads the page again, in the same context: what it stored is there. */
  async reload() {
    await this.page.reload();
    await this.page.waitForFunction('globalThis.testPlayer !== undefined');
  }

  /**
   * Makes the player, for a `start` that follows.
   * @param {object} config
   */
  async prepare(config) {
    await this.page.evaluate((given) => /** @type {any} */ (globalThis).testPlayer.prepare(given), config);
  }

  /**
   * Starts playing; see `PlayerConfig` in page/player.js.
   * @param {object} config
   */
  async start(config) {
    await this.page.evaluate((given) => /** @type {any} */ (globalThis).testPlayer.start(given), config);
  }

  /** @returns {Promise<any>} */
  report() {
    return this.page.evaluate(() => /** @type {any} */ (globalThis).testPlayer.report());
  }

  /**
   * Looks at the report until `test` likes it, and returns it.
   * @param {string} what
   * @param {(report: any) => unknown} test
   * @param {number} [limitMs]
   * @returns {Promise<any>}
   */
  until(what, test, limitMs) {
    const look = async () => {
      const report = await this.report();
      return test(report) ? report : undefined;
    };
    const dump = async () => {
      const { payloads, fragments, events, ...rest } = await this.report();
      const latest = events.slice(-20).map((/** @type {any} */ event) => JSON.stringify(event));
      return { ...rest, payloads: payloads.length, fragments: fragments.length, latest, problems: this.problems };
    };
    return until(`${this.name}: ${what}`, look, { limitMs, dump });
  }

  /** Plays to where it was told to stop. */
  finished(limitMs = 120_000) {
    return this.until('playback came to its end', ({ done }) => done, limitMs);
  }

  /** Closes the viewer's context. */
  close() {
    return this.page.context().close();
  }
}
