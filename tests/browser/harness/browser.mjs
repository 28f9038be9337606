// @ts-check
/** One Chromium for a test file, one browser context (so: one HTTP cache) for each viewer. */

import { chromium } from 'playwright-core';
import { chromiumPath } from './paths.mjs';

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
