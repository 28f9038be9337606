// @ts-check
/** One Chromium for a test file, one browser context (so: one HTTP cache) for each viewer. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import { chromiumPath } from './paths.mjs';
import { temporaryDir } from './streams.mjs';

/** @typedef {import('playwright-core').Browser} Browser */
/** @typedef {import('playwright-core').BrowserContext} BrowserContext */

// Viewers' tabs all count as being looked at; candidates on the loopback interface make the tests independent of any
// other network.
const FLAGS = [
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

/**
 * Starts Chromium with a fresh profile.
 * @param {{ flags?: readonly string[] }} [options]
 * @returns {Promise<Browser>}
 */
export function launchBrowser({ flags = [] } = {}) {
  return chromium.launch({ executablePath: chromiumPath(), args: [...FLAGS, ...flags] });
}

/**
 * Starts a Chromium as a person has it: of the tabs in its one window one is in front, the others are hidden and their timers
 * throttled. Playwright's own browsers have every page count as looked at.
 * @param {import('node:test').TestContext} t it is gone after the test
 * @returns {Promise<BrowserContext>} the one context that its tabs are in
 */
export async function launchWindow(t) {
  const flags = FLAGS.filter((flag) => !flag.startsWith('--disable-'));
  const own = ['--headless', '--no-first-run', '--no-sandbox', '--remote-debugging-port=0', `--user-data-dir=${temporaryDir(t)}`];
  // A page that is still loading when Playwright connects may keep it waiting without end.
  const args = [...own, ...flags, 'about:blank'];
  const chromiumProcess = spawn(chromiumPath(), args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const gone = once(chromiumProcess, 'exit');
  t.after(async () => {
    chromiumProcess.kill();
    await gone;
  });
  let endpoint;
  for await (const line of createInterface(chromiumProcess.stderr)) {
    endpoint = /^DevTools listening on (ws:.*)$/.exec(line)?.[1];
    if (endpoint) break;
  }
  if (!endpoint) throw new Error('Chromium came to its end before it was there');
  chromiumProcess.stderr.resume();
  const browser = await chromium.connectOverCDP(endpoint, { noDefaults: true });
  const [context] = browser.contexts();
  await context.grantPermissions(['microphone']);
  return context;
}

/**
 * A viewer's own context.
 * @param {Browser} browser
 * @param {{ hidden?: boolean }} [options] `hidden`: the viewer's addresses stay behind mDNS names, as they do for a page
 *   without a media permission
 * @returns {Promise<BrowserContext>}
 */
export function newViewer(browser, { hidden = false } = {}) {
  // Only with a media permission does Chromium name host candidates by address, those of the loopback interface too.
  return browser.newContext({ permissions: hidden ? [] : ['microphone'], viewport: { width: 640, height: 480 } });
}
