import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const generated = fileURLToPath(new URL('./generated/tabswarm.js', import.meta.url));

export default defineConfig({
  // In the package the glue stands beside the compiled sources.
  resolve: { alias: [{ find: /^\.\/tabswarm\.js$/, replacement: generated }] },
  test: { include: ['test/**/*.test.ts'], testTimeout: 20_000 },
});
