// @ts-check
/** The npm package as a user gets it: packed, unpacked elsewhere, with nothing of the repository around it. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { launchBrowser } from './harness/browser.mjs';
import { ROOT } from './harness/paths.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { temporaryDir } from './harness/streams.mjs';
import { newPage } from './harness/tab.mjs';
import { until } from './harness/wait.mjs';

const run = promisify(execFile);

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/**
 * Packs the built package and unpacks it.
 * @param {import('node:test').TestContext} t
 * @returns {Promise<string>} the unpacked package
 */
async function unpackedPackage(t) {
  const dir = temporaryDir(t);
  await run('npm', ['pack', '--workspace', 'tabswarm', '--pack-destination', dir], { cwd: ROOT });
  const [tarball] = readdirSync(dir);
  await run('tar', ['-xzf', tarball], { cwd: dir });
  return join(dir, 'package');
}

test('the packed package works in a plain page with a module script', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  stage.origin.mount('/npm/', `${join(await unpackedPackage(t), 'dist')}/`);
  const first = await stage.play('v1', { hls: buffering(60) });
  await first.until('loaded 20 segments', ({ fragments }) => fragments.length >= 20);
  const second = await stage.play('v2', { hls: buffering(6), rate: 2, until: 12 });
  const report = await second.finished();
  assert.deepEqual(stage.wrong(report), []);
  assert.ok(report.stats.peerBytes > 0);
});

test('the packed package works in a Vite build of the demo', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const site = join(temporaryDir(t), 'site');
  cpSync(join(ROOT, 'web-demo'), site, {
    recursive: true,
    filter: (path) => !/web-demo\/(node_modules|dist)(\/|$)/.test(path),
  });
  mkdirSync(join(site, 'node_modules'));
  cpSync(await unpackedPackage(t), join(site, 'node_modules/tabswarm'), { recursive: true });
  for (const name of ['hls.js', 'vite']) {
    const own = join(ROOT, 'web-demo/node_modules', name);
    symlinkSync(existsSync(own) ? own : join(ROOT, 'node_modules', name), join(site, 'node_modules', name));
  }
  await run(process.execPath, [join(site, 'node_modules/vite/bin/vite.js'), 'build'], { cwd: site });

  const { origin, swarm } = stage;
  const { roots: mode, publisherKey, signaling } = swarm;
  const config = join(site, 'config.json');
  writeFileSync(config, JSON.stringify({ mode, publisherKey, signaling, stream: '/media/master.m3u8' }));
  origin.mount('/dev/config.json', config).mount('/demo.html', join(site, 'dist/index.html'));
  for (const entry of readdirSync(join(site, 'dist'), { withFileTypes: true })) {
    if (entry.isDirectory()) origin.mount(`/${entry.name}/`, `${join(site, 'dist', entry.name)}/`);
  }
  /** @type {import('playwright-core').Page[]} */
  const pages = [];
  for (const viewer of ['v1', 'v2']) {
    const page = await newPage(browser, []);
    t.after(() => page.context().close());
    await page.goto(`${origin.url()}/demo.html?autoplay=1&muted=1&viewer=${viewer}`);
    pages.push(page);
  }
  const reports = () =>
    Promise.all(pages.map((page) => page.evaluate(() => /** @type {any} */ (globalThis).tabswarmDemo?.report())));
  await until(
    'both demos play and share',
    async () => {
      const [first, second] = await reports();
      return first?.played > 4 && second?.played > 4 && first.peerBytes + second.peerBytes > 0;
    },
    { dump: reports },
  );
});
