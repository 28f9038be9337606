// @ts-check
/** N viewers of the demo page, one after the other, and what became of them. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { launchBrowser } from './browser.mjs';
import { wrongPayloads } from './hash.mjs';
import { ceilingOf, offloadOf } from './offload.mjs';
import { SAMPLE } from './paths.mjs';
import { newPage } from './tab.mjs';
import { until } from './wait.mjs';

/** Offload that a run has to reach… */
const MIN_OFFLOAD = 0.55;
/** …with at least so many viewers: the ceiling of fewer is below it. */
const MIN_CROWD = 4;
/** Distance to the ceiling that a run has to keep. */
const MAX_BELOW_CEILING = 0.12;
/** Longest time from a viewer's page to its end of the sample of 60 s. */
const LIMIT_MS = 180_000;
const PREFIX = '/sample/';

/**
 * @typedef {object} Options
 * @property {string} url of the demo page
 * @property {number} viewers
 * @property {'signed' | 'origin' | 'attested'} [mode] default: what the service says
 * @property {number} joinIntervalMs
 * @property {(line: string) => void} [log]
 */

/**
 * @typedef {object} Row
 * @property {string} viewer
 * @property {any} report of the page (web-demo/src/report.ts)
 * @property {import('./hash.mjs').Payload[]} payloads
 * @property {number} wrong
 * @property {number} originBytes counted by the origin
 */

/** The sample's file behind a path. @param {string} path */
function sampleFile(path) {
  return path.startsWith(PREFIX) ? join(SAMPLE, path.slice(PREFIX.length)) : undefined;
}

/**
 * Plays the sample to its end in `viewers` tabs.
 * @param {Options} options
 */
export async function runViewers({ url, viewers, mode, joinIntervalMs, log = () => {} }) {
  const browser = await launchBrowser();
  try {
    const playing = [];
    const began = performance.now();
    for (let i = 0; i < viewers; i += 1) {
      await delay(Math.max(0, began + i * joinIntervalMs - performance.now()));
      log(`viewer v${i + 1} joins`);
      playing.push(playDemo(browser, url, `v${i + 1}`, mode));
    }
    const rows = await Promise.all(playing);
    const traffic = await (await fetch(new URL('/dev/traffic.json', url))).json();
    return summarise(rows, traffic);
  } finally {
    await browser.close();
  }
}

/**
 * @param {import('playwright-core').Browser} browser
 * @param {string} url
 * @param {string} viewer
 * @param {string | undefined} mode
 */
async function playDemo(browser, url, viewer, mode) {
  const page = await newPage(browser, ['recorder.js']);
  // The demo hands out its player when it starts: before the first fragment's request.
  await page.addInitScript(() => {
    const scope = /** @type {any} */ (globalThis);
    /** @type {any} */
    let demo;
    Object.defineProperty(scope, 'tabswarmDemo', {
      get: () => demo,
      set: (player) => {
        demo = player;
        scope.payloadRecorder.watch(player.hls);
      },
    });
  });
  const address = new URL(url);
  const query = { autoplay: '1', muted: '1', viewer, ...(mode && { mode }) };
  for (const [name, value] of Object.entries(query)) address.searchParams.set(name, value);
  await page.goto(address.href);
  const look = () => page.evaluate(() => /** @type {any} */ (globalThis).tabswarmDemo?.report());
  const ended = async () => {
    const report = await look();
    return report?.ended ? report : undefined;
  };
  let report;
  try {
    report = await until(`${viewer} played to the end`, ended, { limitMs: LIMIT_MS });
  } catch {
    report = await look();
  }
  const payloads = await page.evaluate(() => /** @type {any} */ (globalThis).payloadRecorder.all());
  return { viewer, report, payloads };
}

/**
 * @param {readonly { viewer: string, report: any, payloads: any[] }[]} played
 * @param {any} traffic
 */
function summarise(played, traffic) {
  const rows = played.map(({ viewer, report, payloads }) => ({
    viewer,
    report,
    payloads,
    wrong: wrongPayloads(payloads, sampleFile).length,
    originBytes: Number(traffic.viewers?.[viewer]?.segmentBytes ?? 0),
  }));
  const all = rows.flatMap(({ payloads }) => payloads);
  const bytesPlayed = all.reduce((sum, { bytes }) => sum + bytes, 0);
  const originBytes = rows.reduce((sum, row) => sum + row.originBytes, 0);
  const distinct = new Set(all.map(({ url }) => new URL(url).pathname));
  const distinctBytes = [...distinct].reduce((sum, path) => sum + readFileSync(sampleFile(path) ?? '').length, 0);
  const firsts = rows.map(({ payloads }) => payloads.find(({ init }) => !init)?.bytes ?? 0);
  const ceiling = ceilingOf(distinctBytes, firsts, bytesPlayed);
  const offload = offloadOf(originBytes, bytesPlayed);
  return {
    rows,
    bytesPlayed,
    originBytes,
    offload,
    ceiling,
    segments: all.length,
    wrong: rows.reduce((sum, row) => sum + row.wrong, 0),
    attestorBytes: Number(traffic.attestor?.segmentBytes ?? 0),
    complete: rows.every(({ report }) => report?.ended && report.stalls === 0),
    offloadReached: offload >= leastOffload(rows.length, ceiling),
  };
}

/** The offload that a run has to reach. @param {number} viewers @param {number} ceiling */
function leastOffload(viewers, ceiling) {
  return Math.max(ceiling - MAX_BELOW_CEILING, viewers >= MIN_CROWD ? MIN_OFFLOAD : 0);
}

/** @typedef {ReturnType<typeof summarise>} Summary */

const kilobytes = (/** @type {number} */ bytes) => (bytes / 1000).toFixed(0);
const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`;

/** @type {[string, (row: Row) => string | number][]} */
const COLUMNS = [
  ['viewer', ({ viewer }) => viewer],
  ['ended', ({ report }) => (report?.ended ? 'yes' : 'NO')],
  ['start ms', ({ report }) => report?.startMs?.toFixed(0) ?? '-'],
  ['stalls', ({ report }) => report?.stalls ?? '-'],
  ['stalled s', ({ report }) => report?.stallSeconds.toFixed(1) ?? '-'],
  ['hitches', ({ report }) => (report ? `${report.hitches} (${report.hitchSeconds.toFixed(1)} s)` : '-')],
  ['played s', ({ report }) => report?.played.toFixed(1) ?? '-'],
  ['origin KB', ({ originBytes }) => kilobytes(originBytes)],
  ['peers KB', ({ report }) => kilobytes(report?.peerBytes ?? 0)],
  ['uploaded KB', ({ report }) => kilobytes(report?.uploadBytes ?? 0)],
  ['segments', ({ payloads }) => payloads.length],
  ['wrong', ({ wrong }) => wrong],
];

/**
 * The summary as text.
 * @param {Summary} summary
 */
export function formatSummary(summary) {
  const cells = summary.rows.map((row) => COLUMNS.map(([, cell]) => String(cell(row))));
  const table = [COLUMNS.map(([name]) => name), ...cells];
  const widths = COLUMNS.map((_, column) => Math.max(...table.map((row) => row[column].length)));
  const lines = table.map((row) => row.map((cell, column) => cell.padStart(widths[column])).join('  '));
  const errors = summary.rows.flatMap(({ viewer, report }) =>
    (report?.errors ?? []).map((/** @type {string} */ error) => `${viewer}: ${error}`),
  );
  const { originBytes, bytesPlayed, attestorBytes, wrong, segments } = summary;
  const reached = summary.offloadReached ? 'yes' : 'NO';
  const least = leastOffload(summary.rows.length, summary.ceiling);
  return [
    ...lines,
    '',
    ...errors,
    `offload over all       ${percent(summary.offload)}`,
    `                       (${kilobytes(originBytes)} KB left the origin, ${kilobytes(bytesPlayed)} KB were played)`,
    `ceiling                ${percent(summary.ceiling)}`,
    "                       (each distinct segment once, and each viewer's first segment, from the origin)",
    `service's own fetches  ${kilobytes(attestorBytes)} KB`,
    `segments different from the origin's: ${wrong} of ${segments}`,
    `offload at least ${percent(least)}: ${reached}`,
  ].join('\n');
}
