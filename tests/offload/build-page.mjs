// @ts-check
/** Bundles the viewers' page, each plugin apart: a tab loads the one it plays with. */

import { fileURLToPath } from 'node:url';
import { build } from 'vite';
import { PAGE_PREFIX } from './servers.mjs';

/**
 * The bundle for browsers that a package of p2p-media-loader brings beside its `lib`, whose imports need Node.js's modules.
 * @param {string} name
 */
const bundleOf = (name) => fileURLToPath(new URL(`../dist/${name}.es.js`, import.meta.resolve(name)));

/** @param {string} outDir */
export async function buildPage(outDir) {
  const bundled = ['p2p-media-loader-core', 'p2p-media-loader-hlsjs'];
  await build({
    base: PAGE_PREFIX,
    build: { chunkSizeWarningLimit: 1000, emptyOutDir: true, outDir, target: 'esnext' },
    configFile: false,
    logLevel: 'warn',
    resolve: { alias: Object.fromEntries(bundled.map((name) => [name, bundleOf(name)])) },
    root: fileURLToPath(new URL('page/', import.meta.url)),
  });
}
