// @ts-check
/** Time shift and what follows each other: seeking in a sliding window and back to live, two programmes in one stream. */

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { CODEC, encode } from './harness/encode.mjs';
import { wrongPayloads } from './harness/hash.mjs';
import { liveStream, segmentNumber } from './harness/live.mjs';
import { Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

/** After a seek the first picture may take so long. */
const MAX_SEEK_MS = 5000;
/** Segments of each programme. */
const PROGRAMME = 4;
/** Sizes of their pictures. */
const PROGRAMMES = { film: '320x180', news: '256x144' };

/** @param {any} report */
const newest = (report) => Math.max(...report.payloads.map((/** @type {any} */ { url }) => segmentNumber(url)));
/** @param {any} report */
const fatal = ({ hlsErrors }) => hlsErrors.filter((/** @type {any} */ error) => error.fatal);

/**
 * Seeks to a place that `choose` names in the page, and waits until it plays there.
 * @param {import('./harness/tab.mjs').Tab} tab
 * @param {'back' | 'live'} where
 */
async function seek(tab, where) {
  const to = await tab.page.evaluate((place) => {
    const { video, hls } = /** @type {any} */ (globalThis).testPlayer;
    // The oldest segment leaves the playlist soon.
    video.currentTime = place === 'back' ? video.seekable.start(0) + 3 : hls.liveSyncPosition;
    return video.currentTime;
  }, where);
  await tab.until(`it plays where it was sent, ${where}`, ({ position }) => position > to + 1, MAX_SEEK_MS + 1000);
  return to;
}

test('a viewer goes back in a sliding window, and to the live edge again', async (t) => {
  const live = liveStream(t);
  const stage = await Stage.open(t, browser, 'signed', live.fill, live.sign);
  const tabs = [await stage.play('v1'), await stage.play('v2')];
  for (const tab of tabs) await tab.until('the window slides', (report) => newest(report) >= 9);
  const [tab, other] = tabs;
  const edge = (await tab.report()).position;
  const back = await seek(tab, 'back');
  assert.ok(back < edge - 4, `from ${edge} to ${back}`);
  const forth = await seek(tab, 'live');
  assert.ok(forth > back + 4, `from ${back} to ${forth}`);
  const last = newest(await tab.report());
  const reports = await Promise.all(
    [tab, other].map((one) => one.until('it stays at the live edge', (report) => newest(report) >= last + 3)),
  );
  for (const report of reports) {
    assert.deepEqual(wrongPayloads(report.payloads, (path) => live.packager.fileOf(path)), []);
    assert.deepEqual(fatal(report), []);
    assert.equal(report.stats.badGroups, 0);
  }
  assert.deepEqual(reports[1].stalls, [], timeline(reports[1]));
  const shift = (/** @type {any} */ report) => report.latencyMs;
  assert.ok(Math.abs(shift(reports[0]) - shift(reports[1])) < MAX_SEEK_MS, `${reports.map(shift)}`);
});

/**
 * One level of two programmes: each with an init segment, times and a size of its own.
 * @param {string} dir
 */
async function twoProgrammes(dir) {
  mkdirSync(join(dir, 'show'), { recursive: true });
  const lines = ['#EXTM3U', '#EXT-X-VERSION:7', '#EXT-X-TARGETDURATION:2', '#EXT-X-MEDIA-SEQUENCE:0', '#EXT-X-PLAYLIST-TYPE:VOD'];
  for (const [index, [name, size]] of Object.entries(PROGRAMMES).entries()) {
    const source = join(dir, '..', name);
    await encode(source, { seconds: 2 * PROGRAMME, each: 2, size });
    if (index > 0) lines.push('#EXT-X-DISCONTINUITY');
    copyFileSync(join(source, 'init.mp4'), join(dir, 'show', `${name}.mp4`));
    lines.push(`#EXT-X-MAP:URI="${name}.mp4"`);
    for (let number = 0; number < PROGRAMME; number += 1) {
      copyFileSync(join(source, `${number}.m4s`), join(dir, 'show', `${name}-${number}.m4s`));
      lines.push('#EXTINF:2.000,', `${name}-${number}.m4s`);
    }
  }
  writeFileSync(join(dir, 'show/playlist.m3u8'), [...lines, '#EXT-X-ENDLIST', ''].join('\n'));
  const level = `#EXT-X-STREAM-INF:BANDWIDTH=800000,CODECS="${CODEC}"`;
  writeFileSync(join(dir, 'master.m3u8'), ['#EXTM3U', level, 'show/playlist.m3u8', ''].join('\n'));
}

test('two programmes behind each other are played and shared, each with its own init segment', async (t) => {
  const stage = await Stage.open(t, browser, 'signed', twoProgrammes);
  const first = await stage.play('v1', { level: 0 });
  await first.until('the second programme is loaded', ({ payloads }) => payloads.length === 2 * (PROGRAMME + 1));
  const second = await stage.play('v2', { level: 0 });
  const reports = await Promise.all([first, second].map((tab) => tab.finished()));
  for (const report of reports) {
    assert.deepEqual(stage.wrong(report), []);
    assert.deepEqual(report.hlsErrors, []);
    assert.deepEqual(report.stalls, [], timeline(report));
    const names = report.payloads.map((/** @type {any} */ { url }) => basename(new URL(url).pathname));
    const programme = (/** @type {string} */ show) => names.filter((/** @type {string} */ name) => name.startsWith(show)).length;
    assert.deepEqual(Object.keys(PROGRAMMES).map(programme), [PROGRAMME + 1, PROGRAMME + 1]);
    assert.ok(report.position > 4 * PROGRAMME - 1, `${report.position}`);
  }
  const { peerBytes, originBytes } = reports[1].stats;
  assert.ok(peerBytes > originBytes, `${peerBytes} bytes from peers, ${originBytes} from the origin`);
});
