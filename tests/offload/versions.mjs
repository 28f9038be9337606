// @ts-check
/** What was measured, and on what: two runs with the same are runs of the same thing. */

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { binary, NPM_DIST, ROOT } from '../browser/harness/paths.mjs';

/** The version of an installed package. @param {string} name */
export function versionOf(name) {
  for (let dir = dirname(fileURLToPath(import.meta.resolve(name))); ; dir = dirname(dir)) {
    try {
      const manifest = JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8'));
      if (manifest.name === name) return String(manifest.version);
    } catch {
      if (dir === dirname(dir)) throw new Error(`${name} is not installed`);
    }
  }
}

/** tabswarm as it was built: its version, and a hash of everything that runs. */
function tabswarmBuild() {
  const hash = createHash('sha256');
  const files = readdirSync(NPM_DIST).filter((name) => /\.(js|wasm)$/.test(name)).map((name) => join(NPM_DIST, name));
  for (const file of [...files.sort(), binary('tabswarm-signaling')]) hash.update(readFileSync(file));
  const { version } = JSON.parse(readFileSync(join(ROOT, 'wasm-peer/npm/package.json'), 'utf8'));
  return `${version} (build ${hash.digest('hex').slice(0, 8)})`;
}

/** The build of no plugin. */
export const NO_BUILD = 'none';

/**
 * The plugin as a run had it.
 * @param {import('./plugins.mjs').Plugin} plugin
 */
export function buildOf({ page }) {
  if (page === 'tabswarm') return `tabswarm ${tabswarmBuild()}`;
  return page === 'p2pml' ? `p2p-media-loader ${versionOf('p2p-media-loader-hlsjs')}` : NO_BUILD;
}

/** The machine, without anything that names it. */
export function machine() {
  const memory = `${Math.round(totalmem() / 2 ** 30)} GiB`;
  return `${availableParallelism()} × ${cpus()[0].model.trim()}, ${memory}, ${type()} ${release()}`;
}
