// @ts-check
/** Segment bytes stay outside the wasm module. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { sha256 } from './harness/hash.mjs';
import { Stage } from './harness/stage.mjs';
import { bulkStream } from './harness/streams.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const FILES = 200;
const MAX_WASM_BYTES = 32 * 1024 * 1024;

/**
 * Runs in the page: fetches files through a swarm of its own, three at a time.
 * @param {{ options: object, master: string, urls: string[] }} task
 */
async function fetchAll({ options, master, urls }) {
  // @ts-ignore: resolved by the page's import map
  const { Tabswarm } = await import('tabswarm');
  const swarm = await Tabswarm.create(options);
  Object.assign(globalThis, { bulkSwarm: swarm });
  const deliveries = /** @type {string[]} */ ([]);
  swarm.addEventListener('segment-loaded', (/** @type {any} */ { detail }) => deliveries.push(detail.delivery));
  await swarm.open(master);
  /** @type {string[]} */
  const hashes = new Array(urls.length);
  let maxWasmBytes = 0;
  let next = 0;
  const worker = async () => {
    while (next < urls.length) {
      const at = next++;
      const response = await swarm.fetch(urls[at]);
      const digest = await crypto.subtle.digest('SHA-256', await response.arrayBuffer());
      hashes[at] = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      maxWasmBytes = Math.max(maxWasmBytes, swarm.stats().wasmMemoryBytes);
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return { hashes, maxWasmBytes, deliveries, stats: swarm.stats() };
}

test('200 MB through fetch in one tab, and half of it on to another, keep its wasm memory under 32 MiB', async (t) => {
  /** @type {string[]} */
  let names = [];
  const stage = await Stage.open(t, browser, 'signed', (dir) => (names = bulkStream(dir, FILES)));
  const expected = names.map((name) => sha256(readFileSync(join(stage.stream.dir, name))));
  const media = `${stage.origin.url()}/media/`;
  const task = (/** @type {number} */ from) => ({
    options: { ...stage.swarm, start: 'economy' },
    master: `${media}master.m3u8`,
    urls: names.slice(from).map((name) => `${media}${name}`),
  });

  const first = await stage.open('v1');
  const all = await first.page.evaluate(fetchAll, task(0));
  assert.deepEqual(all.hashes, expected);
  assert.equal(all.deliveries.filter((delivery) => delivery === 'verified').length, FILES);
  assert.ok(all.maxWasmBytes > 0 && all.maxWasmBytes <= MAX_WASM_BYTES, `${all.maxWasmBytes} bytes of wasm memory`);

  const second = await stage.open('v2');
  const half = await second.page.evaluate(fetchAll, task(FILES / 2));
  assert.deepEqual(half.hashes, expected.slice(FILES / 2));
  assert.ok(half.stats.peerBytes > 0);
  assert.ok(half.maxWasmBytes <= MAX_WASM_BYTES, `${half.maxWasmBytes} bytes of wasm memory`);
  const given = await first.page.evaluate(() => /** @type {any} */ (globalThis).bulkSwarm.stats());
  assert.ok(given.uploadBytes >= half.stats.peerBytes);
  assert.ok(given.wasmMemoryBytes <= MAX_WASM_BYTES, `${given.wasmMemoryBytes} bytes of wasm memory while giving`);
});
