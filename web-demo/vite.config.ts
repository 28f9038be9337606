import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { defineConfig, type Plugin } from 'vite';

/** Where `npm run dev` finds the sample, the WebSocket and the npm bundle: a running `tabswarm-signaling dev`. */
const service = process.env['TABSWARM_DEV_SERVICE'] ?? 'http://127.0.0.1:8080';

/** Copies hls.js beside the build, so that `plain.html` can name it in an import map without a bundler or a CDN. */
function vendorHls(): Plugin {
  return {
    name: 'vendor-hls',
    apply: 'build',
    generateBundle() {
      const path = createRequire(import.meta.url).resolve('hls.js/dist/hls.min.mjs');
      this.emitFile({ type: 'asset', fileName: 'vendor/hls.min.mjs', source: readFileSync(path) });
    },
  };
}

export default defineConfig({
  build: {
    target: 'es2022',
    // The wasm module has to stay a file of its own: an inlined one could not be compiled while it streams in.
    assetsInlineLimit: (file) => (file.endsWith('.wasm') ? false : undefined),
    // hls.js alone is past Vite's 500 kB alarm.
    chunkSizeWarningLimit: 800,
  },
  // Pre-bundling would move the JavaScript away from the wasm file it names by `import.meta.url`.
  optimizeDeps: { exclude: ['tabswarm'] },
  plugins: [vendorHls()],
  server: {
    proxy: {
      '/dev': service,
      '/npm': service,
      '/sample': service,
      '/swarm': { target: service, ws: true },
    },
  },
});
