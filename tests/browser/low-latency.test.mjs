// @ts-check
/** Low-latency HLS: parts pass through to the origin as they do without us, whole segments are shared. */

import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { LowLatencyStream } from './harness/low-latency.mjs';
import { Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const STREAM_SECONDS = 60;
/** Parts that are watched. */
const WATCHED = 24;
/** A tab with the swarm shows what is this much older than a plain one beside it, at most. */
const MAX_LATENCY_MS = 1000;
/** Whole segments that a tab may have asked for and hls.js took by parts. */
const MAX_UNUSED = 2;
const PART = /^live-(\d+)\.(\d)\.m4s$/;
const WHOLE = /^live-\d+\.m4s$/;

/** @param {{ url: string }} payload */
const nameOf = ({ url }) => basename(new URL(url).pathname);

/** @param {any} report names of the parts that hls.js was handed */
const parts = ({ payloads }) => payloads.map(nameOf).filter((/** @type {string} */ name) => PART.test(name));

test('parts pass through: the same bytes, no stall, no error, no later than without us', async (t) => {
  const live = new LowLatencyStream(STREAM_SECONDS);
  t.after(() => live.stop());
  const stage = await Stage.open(t, browser, 'attested', (dir) => live.fill(dir));
  live.serve(stage.origin, '/media/');
  const hls = { lowLatencyMode: true };
  const names = ['v1', 'v2', 'plain'];
  const config = (/** @type {string} */ name) => ({ src: stage.src(name), hls, swarm: name === 'plain' ? null : stage.swarm });
  const tabs = await Promise.all(names.map((name) => stage.open(name)));
  await Promise.all(tabs.map((tab) => tab.prepare(config(tab.name))));
  await Promise.all(tabs.map((tab) => tab.start(config(tab.name))));
  const reports = await Promise.all(
    tabs.map((tab) => tab.until('parts are watched for a while', (report) => parts(report).length >= WATCHED)),
  );
  const plain = reports.at(-1);
  for (const [index, report] of reports.entries()) {
    const name = names[index];
    assert.deepEqual(report.stalls, [], `${name}: ${timeline(report)}`);
    assert.deepEqual(report.hlsErrors, [], name);
    assert.deepEqual(stage.wrong(report), [], name);
    assert.deepEqual(tabs[index].problems, []);
    // Each part once, from the origin.
    assert.deepEqual(new Set(parts(report)).size, parts(report).length, name);
    t.diagnostic(`${name}: ${parts(report).length} parts, began ${report.startLatencyMs} ms behind, now ${Math.round(report.latencyMs)}`);
  }
  assert.ok(live.blocked > 0, 'playlists were reloaded before their time');
  for (const [index, report] of reports.slice(0, -1).entries()) {
    assert.ok(report.latencyMs - plain.latencyMs < MAX_LATENCY_MS, `${report.latencyMs} ms, plain ${plain.latencyMs}`);
    const fetched = report.events.filter((/** @type {any} */ { type }) => type === 'segment-loaded');
    assert.ok(fetched.every((/** @type {any} */ { detail }) => !PART.test(nameOf(detail))), timeline(report));
    const taken = new Set(report.payloads.map(nameOf));
    const asked = new Set(stage.origin.requests({ viewer: names[index] }).map(({ path }) => basename(path)));
    const unused = [...asked].filter((name) => WHOLE.test(name) && !taken.has(name));
    assert.ok(unused.length <= MAX_UNUSED, unused.join(' '));
  }
});

test('whoever leaves the live edge takes whole segments, and shares them', async (t) => {
  const live = new LowLatencyStream(STREAM_SECONDS);
  t.after(() => live.stop());
  const stage = await Stage.open(t, browser, 'attested', (dir) => live.fill(dir));
  live.serve(stage.origin, '/media/');
  const config = { level: 0, hls: { lowLatencyMode: true, liveSyncDuration: 8 } };
  const tabs = [await stage.play('v1', config), await stage.play('v2', config)];
  const whole = (/** @type {any} */ { events }) =>
    events.filter((/** @type {any} */ { type, detail }) => type === 'segment-loaded' && WHOLE.test(nameOf(detail)));
  const shared = (/** @type {any} */ report) => whole(report).some((/** @type {any} */ { detail }) => detail.fromPeers > 0);
  await Promise.any(tabs.map((tab) => tab.until('a segment comes from the other tab', shared, 45_000)));
  for (const tab of tabs) {
    const report = await tab.report();
    assert.deepEqual(stage.wrong(report), []);
    assert.deepEqual(report.hlsErrors.filter((/** @type {any} */ { fatal }) => fatal), []);
    assert.deepEqual(report.stalls, [], timeline(report));
  }
});
