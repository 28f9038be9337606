// @ts-check
/** The figures of a run, out of what was counted. */

import { ceilingOf, offloadOf } from '../../browser/harness/offload.mjs';

/**
 * What was counted of one viewer.
 * @typedef {object} Viewer
 * @property {string} name
 * @property {boolean} leaves midway
 * @property {boolean} ended it saw the stream to its end
 * @property {number | null} startMs
 * @property {number} stalls
 * @property {number} stallSeconds
 * @property {number} hitches
 * @property {number} hitchSeconds
 * @property {number} playedSeconds while CPU was counted
 * @property {number} skippedSeconds of the stream that playback jumped over
 * @property {{ path: string, level: number, bytes: number }[]} shown segments that were on the screen, in order, and their sizes
 * @property {number[]} latencies seconds, of regular looks at live playback once it was under way
 * @property {number} segments given to the player
 * @property {number} wrong those of them that differ from the origin's
 * @property {number} segmentBytes that left the origin for it
 * @property {number} otherBytes playlists, init segments, manifests and group lists that left the origin for it
 * @property {Traffic} traffic
 * @property {string[]} fatal what hls.js gave up on
 * @property {import('./patience.mjs').Happening[] | null} [diagnosis] what its plugin says of itself
 */

/** @typedef {Record<'received' | 'sent', { payload: number, other: number, socket: number }>} Traffic see wire-tap.js */

/**
 * What was counted of a run.
 * @typedef {object} Counts
 * @property {Viewer[]} viewers those of good will
 * @property {number} serviceBytes segment bytes that the service fetched for itself
 * @property {number} originPeakBytes most bytes that left the origin within a second
 * @property {import('./cpu.mjs').CpuTimes} cpu
 * @property {number} tabs those of ill will among them
 */

const sumOf = (/** @type {readonly number[]} */ values) => values.reduce((sum, value) => sum + value, 0);

/**
 * The middle value, or the mean of the two; null of none.
 * @param {readonly number[]} values
 */
export function median(values) {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * What was fetched beyond what was played, as a share of that.
 * @param {number} fetchedBytes from the origin and from peers
 * @param {number} playedBytes
 */
export function wasteOf(fetchedBytes, playedBytes) {
  return playedBytes > 0 ? (fetchedBytes - playedBytes) / playedBytes : 0;
}

/** Bytes of distinct segments. @param {Viewer['shown']} shown */
function distinctBytes(shown) {
  return sumOf([...new Map(shown.map(({ path, bytes }) => [path, bytes])).values()]);
}

/** @param {Counts} counts */
export function figuresOf(counts) {
  const { viewers } = counts;
  const starts = viewers.flatMap(({ startMs }) => startMs ?? []);
  return {
    ...bytesOf(counts),
    originPeakBytesPerSecond: counts.originPeakBytes,
    startMedianMs: median(starts),
    startMaxMs: starts.length > 0 ? Math.max(...starts) : null,
    stalls: sumOf(viewers.map(({ stalls }) => stalls)),
    stallsMax: Math.max(...viewers.map(({ stalls }) => stalls)),
    stallSeconds: sumOf(viewers.map(({ stallSeconds }) => stallSeconds)),
    hitchSeconds: sumOf(viewers.map(({ hitchSeconds }) => hitchSeconds)),
    skippedSeconds: sumOf(viewers.map(({ skippedSeconds }) => skippedSeconds)),
    liveLatencySeconds: median(viewers.flatMap(({ latencies }) => latencies)),
    ...costsOf(counts),
    wrong: sumOf(viewers.map(({ wrong }) => wrong)),
    stayed: viewers.filter(({ leaves }) => !leaves).length,
    ended: viewers.filter(({ ended }) => ended).length,
    switches: sumOf(viewers.map(({ shown }) => switchesOf(shown))),
    topLevelShare: topLevelShare(viewers.flatMap(({ shown }) => shown)),
  };
}

/** @typedef {ReturnType<typeof figuresOf>} Figures */

/** Where the segments came from. @param {Counts} counts */
function bytesOf({ viewers, serviceBytes }) {
  const shown = viewers.flatMap((viewer) => viewer.shown);
  const playedBytes = sumOf(shown.map(({ bytes }) => bytes));
  const segmentBytes = sumOf(viewers.map((viewer) => viewer.segmentBytes));
  const peerBytes = sumOf(viewers.map(({ traffic }) => traffic.received.payload));
  return {
    offload: offloadOf(segmentBytes + serviceBytes, playedBytes),
    // What a service attests it has to fetch as well.
    ceiling: ceilingOf(distinctBytes(shown) * (serviceBytes > 0 ? 2 : 1), viewers.map((viewer) => viewer.shown[0]?.bytes ?? 0), playedBytes),
    waste: wasteOf(segmentBytes + peerBytes, playedBytes),
    playedBytes,
    segmentBytes,
    peerBytes,
    serviceBytes,
  };
}

/** What it takes from each viewer. @param {Counts} counts */
function costsOf({ viewers, cpu, tabs }) {
  const uploads = viewers.map(({ traffic }) => traffic.sent.payload);
  // Of picture: who stands still does little.
  const minutes = sumOf(viewers.map(({ playedSeconds }) => playedSeconds)) / 60;
  // Tabs of ill will play too: their processes are among those counted.
  const tabMinutes = (minutes * tabs) / viewers.length;
  const each = (/** @type {(viewer: Viewer) => number} */ of) => sumOf(viewers.map(of)) / viewers.length;
  return {
    rendererCpuPerMinute: tabMinutes > 0 ? cpu.rendererSeconds / tabMinutes : null,
    // The same work in each run, so that it tells how fast the machine was meanwhile.
    rendererCpuPerDecoding: cpu.decoderSeconds > 0 ? cpu.rendererSeconds / cpu.decoderSeconds : null,
    browserCpuPerMinute: tabMinutes > 0 ? cpu.browserSeconds / tabMinutes : null,
    uploadMedianBytes: median(uploads),
    uploadMaxBytes: Math.max(...uploads),
    httpOverheadBytes: each(({ otherBytes }) => otherBytes),
    peerOverheadBytes: each(({ traffic: { received, sent } }) => received.other + sent.other),
    socketBytes: each(({ traffic: { received, sent } }) => received.socket + sent.socket),
    otherCores: cpu.otherCores,
  };
}

/** How often the level on the screen changed. @param {Viewer['shown']} shown */
function switchesOf(shown) {
  return shown.filter(({ level }, index) => index > 0 && level !== shown[index - 1].level).length;
}

/** Share of the shown segments that were of the highest level. @param {Viewer['shown']} shown */
function topLevelShare(shown) {
  const top = Math.max(...shown.map(({ level }) => level));
  return shown.length > 0 ? shown.filter(({ level }) => level === top).length / shown.length : 0;
}

/**
 * The median of each figure over several runs.
 * @param {readonly Figures[]} runs at least one
 * @returns {Figures}
 */
export function medianFigures(runs) {
  const names = /** @type {(keyof Figures)[]} */ (Object.keys(runs[0]));
  const entries = names.map((name) => [name, median(runs.flatMap((run) => run[name] ?? []))]);
  return Object.fromEntries(entries);
}
