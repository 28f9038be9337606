// The module and its glue stand beside the compiled sources: the glue finds the module by its own URL, with or without a
// bundler.
import { copyFileSync } from 'node:fs';

const FILES = ['tabswarm.js', 'tabswarm.d.ts', 'tabswarm_bg.wasm', 'tabswarm_bg.wasm.d.ts'];

for (const file of FILES) {
  copyFileSync(new URL(`../generated/${file}`, import.meta.url), new URL(`../dist/${file}`, import.meta.url));
}
