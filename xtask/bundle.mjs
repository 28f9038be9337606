// What a page downloads of the npm package's JavaScript: bundled and minified as Vite does it, hls.js left out.
// `node bundle.mjs PACKAGE_DIST OUT_DIR`

import { join } from 'node:path';
import { build } from 'vite';

const [dist, outDir] = process.argv.slice(2);

await build({
  configFile: false,
  logLevel: 'warn',
  root: dist,
  build: {
    // The module stays a file of its own: its budget is another.
    assetsInlineLimit: 0,
    emptyOutDir: true,
    modulePreload: false,
    outDir,
    rolldownOptions: {
      external: ['hls.js'],
      input: { hls: join(dist, 'hls.js'), index: join(dist, 'index.js') },
      preserveEntrySignatures: 'strict',
    },
    target: 'es2022',
  },
});
