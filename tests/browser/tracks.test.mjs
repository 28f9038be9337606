// @ts-check
/** Levels, sound of its own and encrypted segments: what viewers of different tracks have in common is shared. */

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { AUDIO_CODEC, CODEC, encode, encodeTone } from './harness/encode.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { encryptedSample, shortSample } from './harness/streams.mjs';
import { timeline } from './harness/tab.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** Little ahead, so that there is something left to load after a switch. */
const HLS = buffering(6);
/** Sizes of the pictures of both levels that have their sound apart. */
const LEVELS = { low: '256x144', high: '320x180' };
const SOUND = { seconds: 14, each: 2 };

/**
 * Segments of a track that were delivered, and how many bytes of them came from peers.
 * @param {any} report
 * @param {string} track the directory of its files
 */
function delivered({ events }, track) {
  const loaded = events.filter((/** @type {any} */ { type, detail }) => type === 'segment-loaded' && trackOf(detail.url) === track);
  return {
    segments: loaded.length,
    fromPeers: loaded.reduce((/** @type {number} */ sum, /** @type {any} */ { detail }) => sum + detail.fromPeers, 0),
  };
}

/** @param {string} url */
const trackOf = (url) => basename(dirname(new URL(url).pathname));

/** @param {Stage} stage @param {any} report */
function assertPlayed(stage, report) {
  assert.deepEqual(stage.wrong(report), []);
  assert.deepEqual(report.hlsErrors.filter((/** @type {any} */ { fatal }) => fatal), []);
  assert.deepEqual(report.stalls, [], timeline(report));
}

/** @param {import('./harness/tab.mjs').Tab} tab @param {number} level */
const switchTo = (tab, level) =>
  tab.page.evaluate((next) => {
    /** @type {any} */ (globalThis).testPlayer.hls.nextLevel = next;
  }, level);

test('a level switch opens no connection and closes none, and the swarm shares the new level', async (t) => {
  const stage = await Stage.open(t, browser, 'signed', (dir) => shortSample(dir, 24));
  const config = { hls: HLS };
  const tabs = [await stage.play('v1', config), await stage.play('v2', config)];
  const [first, second] = tabs;
  await second.until('the other tab helps', (report) => delivered(report, 'high').fromPeers > 0);
  const before = await Promise.all(tabs.map((tab) => tab.report()));
  await switchTo(first, 0);
  await first.until('it plays the low level', (report) => delivered(report, 'low').segments >= 2);
  const apart = await second.report();
  assert.equal(apart.stats.peers.length, 1, 'who plays another level stays a neighbour');
  await switchTo(second, 0);
  const reports = await Promise.all(tabs.map((tab) => tab.finished()));
  assert.ok(delivered(reports[1], 'low').fromPeers > 0, timeline(reports[1]));
  for (const [index, report] of reports.entries()) {
    assertPlayed(stage, report);
    assert.deepEqual(report.wire.connections, before[index].wire.connections, 'the same connections as before');
  }
});

/** Two levels without sound, and one sound for both. @param {string} dir */
async function soundApart(dir) {
  const entries = Object.entries(LEVELS);
  for (const [name, size] of entries) await encode(join(dir, name), { ...SOUND, size });
  await encodeTone(join(dir, 'sound'), SOUND);
  mkdirSync(dir, { recursive: true });
  const media = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="tone",DEFAULT=YES,AUTOSELECT=YES,URI="sound/made.m3u8"';
  const levels = entries.flatMap(([name, size], index) => [
    `#EXT-X-STREAM-INF:BANDWIDTH=${700_000 + index},RESOLUTION=${size},CODECS="${CODEC},${AUDIO_CODEC}",AUDIO="sound"`,
    `${name}/made.m3u8`,
  ]);
  writeFileSync(join(dir, 'master.m3u8'), ['#EXTM3U', '#EXT-X-VERSION:7', media, ...levels, ''].join('\n'));
}

test('viewers of different levels share the sound that both have', async (t) => {
  const stage = await Stage.open(t, browser, 'signed', soundApart);
  const first = await stage.play('v1', { level: 0, hls: HLS });
  await first.until('the first sound is there', (report) => delivered(report, 'sound').segments > 0);
  const second = await stage.play('v2', { level: 1, hls: HLS });
  const reports = await Promise.all([first, second].map((tab) => tab.finished()));
  for (const report of reports) assertPlayed(stage, report);
  assert.ok(delivered(reports[1], 'sound').fromPeers > 0, timeline(reports[1]));
  assert.equal(delivered(reports[1], 'high').fromPeers, 0, 'nobody else plays that level');
  assert.equal(delivered(reports[1], 'low').segments, 0);
});

test('segments that are encrypted are shared as they are, and played', async (t) => {
  const stage = await Stage.open(t, browser, 'signed', encryptedSample);
  const first = await stage.play('v1', { hls: HLS, until: 12 });
  await first.until('a few segments are there', (report) => delivered(report, 'high').segments >= 3);
  const second = await stage.play('v2', { hls: HLS, until: 12 });
  const reports = await Promise.all([first, second].map((tab) => tab.finished()));
  for (const report of reports) assertPlayed(stage, report);
  const { fromPeers, segments } = delivered(reports[1], 'high');
  assert.ok(fromPeers > 0, `${fromPeers} bytes of ${segments} segments from peers`);
});
