// @ts-check
/** Live streams: signed while they run, shared at the live edge, no later than without us. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { wrongPayloads } from './harness/hash.mjs';
import { liveStream, segmentNumber } from './harness/live.mjs';
import { Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';
import { until } from './harness/wait.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** A tab with the swarm shows what is this much older than a plain one beside it, at most. */
const MAX_LATENCY_MS = 1000;
/** Segments that are watched. */
const WATCHED = 16;
/** Of what three tabs play, they give each other so much. */
const MIN_SHARE = 0.3;
/** Manifests that a tab asks for: playlists bring them along, but for the first. One more where a busy machine has let time run out. */
const MAX_MANIFESTS = 2;
/** Segments that may come without their root. */
const MAX_UNCHECKED = 2;
const MANIFEST = /\.tabswarm$/;
const GROUPS = /\.groups$/;
const SEGMENTS = /\.m4s$/;

/** @param {any} report @returns {{ atMs: number, detail: any }[]} */
const loaded = ({ events }) => events.filter((/** @type {any} */ { type, detail }) => type === 'segment-loaded' && segmentNumber(detail.url) >= 0);

/** @param {{ payloads: { bytes: number }[] }} report */
const bytesPlayed = ({ payloads }) => payloads.reduce((sum, { bytes }) => sum + bytes, 0);

/** @param {any} report the number of the newest segment that it has */
const newest = (report) => Math.max(...report.payloads.map((/** @type {any} */ { url }) => segmentNumber(url)));

/** @param {ReturnType<typeof liveStream>} live @param {any} report */
const wrong = ({ packager }, { payloads }) => wrongPayloads(payloads, (path) => packager.fileOf(path));

test('a live stream is shared as it is signed, and shown no later than without us', async (t) => {
  const live = liveStream(t);
  const stage = await Stage.open(t, browser, 'signed', live.fill, live.sign);
  const names = ['v1', 'v2', 'v3', 'plain'];
  const config = (/** @type {string} */ name) => ({ src: stage.src(name), level: 1, swarm: name === 'plain' ? null : stage.swarm });
  const everybody = await Promise.all(names.map((name) => stage.open(name)));
  await Promise.all(everybody.map((tab) => tab.prepare(config(tab.name))));
  // How far behind a tab is depends on when it came between two segments: all come right after one.
  const { written } = live.packager;
  const playlist = join(stage.stream.dir, 'high/playlist.m3u8');
  await until('the next segment is published', () => readFileSync(playlist, 'utf8').includes(`live-${written}.m4s`));
  const playing = everybody.map(async (tab) => {
    await tab.start(config(tab.name));
    return tab.until('it plays', ({ startLatencyMs }) => startLatencyMs !== null);
  });
  await Promise.all(playing);
  const from = live.packager.written;
  for (const tab of everybody) await tab.until('it is watched for a while', (report) => newest(report) >= from + WATCHED);
  const reports = await Promise.all(everybody.map((tab) => tab.report()));

  for (const report of reports) {
    assert.deepEqual(report.stalls, [], timeline(report));
    assert.deepEqual(wrong(live, report), []);
    assert.deepEqual(report.hlsErrors, []);
  }
  let fromPeers = 0;
  const { startLatencyMs: plainLatencyMs } = reports.at(-1);
  for (const [index, report] of reports.slice(0, -1).entries()) {
    const name = names[index];
    const { originBytes, peerBytes, badGroups } = report.stats;
    const requests = stage.origin.requests({ viewer: name, path: MANIFEST }).length;
    const manifests = stage.origin.bytes({ viewer: name, path: MANIFEST });
    const lists = stage.origin.bytes({ viewer: name, path: GROUPS });
    t.diagnostic(
      `${name}: ${peerBytes} bytes from peers, ${originBytes} from the origin; ${requests} manifests of ${manifests} bytes, ` +
        `${lists} bytes of lists; began ${report.startLatencyMs} ms behind, plain ${plainLatencyMs}`,
    );
    // Without a stall it stays so; a busy machine may show frames late, in any tab.
    assert.ok(report.startLatencyMs - plainLatencyMs < MAX_LATENCY_MS, `${report.startLatencyMs} ms, plain ${plainLatencyMs}`);
    fromPeers += peerBytes;
    assert.equal(badGroups, 0);
    // Whatever a playlist names is in the manifest by then. Nobody waits for it when a busy machine has let time run out.
    const unchecked = loaded(report).filter(({ detail }) => detail.delivery !== 'verified');
    assert.ok(unchecked.length <= MAX_UNCHECKED, timeline(report));
    assert.ok(requests <= MAX_MANIFESTS, `${requests} requests`);
  }
  const played = bytesPlayed(reports[0]) * (reports.length - 1);
  t.diagnostic(`${Math.round((100 * fromPeers) / played)} % from peers`);
  assert.ok(fromPeers > MIN_SHARE * played, `${fromPeers} of ${played} bytes`);
});

test('a seek back, and across a discontinuity, plays on', async (t) => {
  const live = liveStream(t);
  const stage = await Stage.open(t, browser, 'signed', live.fill, live.sign);
  const tab = await stage.play('v1');
  await tab.until('it has a window to seek in', (report) => newest(report) >= 9);
  const seekable = await tab.page.evaluate(() => {
    const { video } = /** @type {any} */ (globalThis).testPlayer;
    video.currentTime = video.seekable.start(0) + 1;
    return video.currentTime;
  });
  await tab.until('it plays there', ({ position }) => position > seekable + 2);
  const report = await tab.until('the sample began again', (seen) => newest(seen) >= 32, 120_000);
  assert.deepEqual(wrong(live, report), []);
  assert.deepEqual(report.hlsErrors.filter((/** @type {any} */ { fatal }) => fatal), []);
});

test('a publisher that is killed leaves everybody playing, and a new one has them share again', async (t) => {
  const live = liveStream(t, { inPlace: true });
  const stage = await Stage.open(t, browser, 'signed', live.fill, live.sign);
  const tabs = [await stage.play('v1'), await stage.play('v2')];
  const shared = (/** @type {number} */ since) => (/** @type {any} */ report) =>
    loaded(report).some(({ detail }) => segmentNumber(detail.url) > since && detail.fromPeers > 0);
  // Who is the first to have a segment changes.
  const someoneShares = async (/** @type {number} */ since) => {
    const sharing = tabs.map((tab) => tab.until('segments come from the other tab', shared(since), 90_000));
    await Promise.any(sharing).catch((/** @type {AggregateError} */ { errors }) => {
      throw new Error([...errors.map(String), live.publisher.log].join('\n'));
    });
  };
  await someoneShares(0);
  await live.publisher.kill();
  const killed = live.packager.written;
  for (const tab of tabs) {
    const report = await tab.until('it plays on', (seen) => newest(seen) >= killed + 6);
    const after = loaded(report).filter(({ detail }) => segmentNumber(detail.url) > killed);
    assert.ok(after.length > 0 && after.every(({ detail }) => detail.delivery === 'origin-whole'), timeline(report));
  }
  live.publisher.run();
  await someoneShares(live.packager.written);
  for (const tab of tabs) {
    const report = await tab.report();
    assert.deepEqual(report.stalls, [], timeline(report));
    assert.deepEqual(wrong(live, report), []);
    assert.deepEqual(report.hlsErrors, []);
    assert.deepEqual(report.events.filter((/** @type {any} */ { type }) => type === 'error'), []);
  }
  assert.ok(stage.origin.bytes({ path: SEGMENTS }) > 0);
});
