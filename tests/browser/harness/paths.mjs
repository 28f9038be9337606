// @ts-check
/** Where the built parts are. */

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));

/** The repository. */
export const ROOT = here('../../../');
/** The pages and scripts that run in a tab. */
export const PAGE_DIR = here('../page/');
/** The npm package's build. */
export const NPM_DIST = process.env.TABSWARM_NPM_DIST ?? join(ROOT, 'wasm-peer/npm/dist');
/** The sample stream. */
export const SAMPLE = join(ROOT, 'sample');
/** hls.js as an ES module. */
export const HLS_MODULE = join(dirname(createRequire(import.meta.url).resolve('hls.js')), 'hls.min.mjs');

/**
 * A built binary of the workspace.
 * @param {string} name
 */
export function binary(name) {
  const given = process.env.TABSWARM_BIN_DIR;
  const dirs = given ? [given] : [join(ROOT, 'target/release'), join(ROOT, 'target/debug')];
  const found = dirs.map((dir) => join(dir, name)).find(existsSync);
  if (!found) throw new Error(`no ${name} in ${dirs.join(' or ')}: build it with \`cargo build --release\``);
  return found;
}

/** Chromium: `$CHROMIUM`, or the first on `$PATH`. */
export function chromiumPath() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const dirs = (process.env.PATH ?? '').split(delimiter);
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
  const found = names.flatMap((name) => dirs.map((dir) => join(dir, name))).find(existsSync);
  if (!found) throw new Error(`none of ${names.join(', ')} on the PATH: install Chromium or set CHROMIUM`);
  return found;
}
