// @ts-check
/** The test page: hls.js, with or without tabswarm, told what to do by the test and remembering what happened. */

import Hls from 'hls.js';

/**
 * @typedef {object} PlayerConfig
 * @property {string} src URL of the master playlist
 * @property {Record<string, unknown> | null} swarm options of `Tabswarm.create`; null: plain hls.js
 * @property {Record<string, unknown>} [hls] hls.js configuration
 * @property {number} [level] the one quality level to play
 * @property {number} [rate] playback rate
 * @property {number} [until] stops here, seconds; else at the end
 */

const TABSWARM_EVENTS = [
  'chunk-downloaded', 'chunk-uploaded', 'error', 'origin-mismatch', 'peer-banned', 'peer-close', 'peer-connect',
  'population', 'segment-loaded', 'sharing', 'signaling-close', 'signaling-open', 'state',
];
/** Chunks come by the thousand: they are counted, not kept. */
const COUNTED = new Set(['chunk-downloaded', 'chunk-uploaded']);
/** What hls.js says when the picture stands: how often depends on the machine, and stalls are counted here. */
const PLAYBACK_TROUBLES = new Set(['bufferNudgeOnStall', 'bufferStalledError']);
/** Less than this ahead of the playhead is no data to play on with. */
const MIN_AHEAD_SECONDS = 0.5;

const video = /** @type {HTMLVideoElement} */ (document.getElementById('video'));
/** @type {any} */
let hls;
/** @type {any} */
let swarm = null;
let done = false;
let waiting = false;
let beganMs = 0;
/** @type {number | null} */
let startMs = null;
/** How far behind it began to play. @type {number | null} */
let startLatencyMs = null;
/** @type {{ atMs: number, position: number, buffered: string }[]} */
const stalls = [];
/** @type {Record<string, unknown>[]} */
const hlsErrors = [];
/** @type {{ type: string, atMs: number, detail: any }[]} */
const events = [];
/** @type {Record<string, number>} */
const counts = {};
/** @type {{ sn: number | string, level: number, type: string }[]} */
const buffered = [];

const ranges = (/** @type {TimeRanges} */ times) =>
  Array.from({ length: times.length }, (_, i) => `${times.start(i).toFixed(2)}-${times.end(i).toFixed(2)}`).join(' ');

/** Seconds to play on with, or to the end. */
function bufferedAhead() {
  const { buffered: times, currentTime, duration } = video;
  if (duration - currentTime < MIN_AHEAD_SECONDS) return Infinity;
  for (let i = 0; i < times.length; i += 1) {
    if (times.start(i) - 0.1 <= currentTime && currentTime < times.end(i)) return times.end(i) - currentTime;
  }
  return 0;
}

function watchSwarm() {
  for (const type of TABSWARM_EVENTS) {
    swarm.addEventListener(type, (/** @type {CustomEvent} */ { detail }) => {
      counts[type] = (counts[type] ?? 0) + 1;
      if (COUNTED.has(type)) return;
      const { error, ...rest } = detail ?? {};
      const seen = error ? { ...rest, code: error.code, message: error.message } : rest;
      events.push({ type, atMs: performance.now(), detail: seen });
    });
  }
}

function watchVideo(/** @type {number | undefined} */ stopAt) {
  video.addEventListener('playing', () => {
    startMs ??= performance.now() - beganMs;
    waiting = false;
  });
  video.addEventListener('waiting', () => {
    if (startMs === null || done || waiting || video.seeking || video.ended) return;
    waiting = true;
    // With data at hand it is the decoder that is late, on a machine that is busy.
    if (bufferedAhead() >= MIN_AHEAD_SECONDS) return;
    stalls.push({ atMs: performance.now(), position: video.currentTime, buffered: ranges(video.buffered) });
  });
  video.addEventListener('ended', () => (done = true));
  video.addEventListener('timeupdate', () => {
    startLatencyMs ??= latencyMs();
    if (stopAt === undefined || video.currentTime < stopAt || done) return;
    done = true;
    video.pause();
  });
}

function watchHls(/** @type {number | undefined} */ level) {
  hls.on(Hls.Events.MANIFEST_PARSED, () => {
    if (level !== undefined) hls.loadLevel = level;
  });
  hls.on(Hls.Events.FRAG_BUFFERED, (/** @type {any} */ _, /** @type {any} */ { frag }) =>
    buffered.push({ sn: frag.sn, level: frag.level, type: frag.type }),
  );
  hls.on(Hls.Events.ERROR, (/** @type {any} */ _, /** @type {any} */ data) => {
    if (PLAYBACK_TROUBLES.has(data.details)) return;
    hlsErrors.push({
      type: data.type,
      details: data.details,
      fatal: data.fatal,
      ...(data.response?.code !== undefined && { code: data.response.code }),
      ...(data.frag && { sn: data.frag.sn, level: data.frag.level }),
    });
  });
}

/** Makes the player, which loads nothing yet. @param {PlayerConfig} config */
async function prepare(config) {
  hls = new Hls({ startLevel: config.level, ...config.hls });
  if (config.swarm) {
    const { Tabswarm } = await import('tabswarm/hls');
    swarm = await Tabswarm.create(config.swarm);
    watchSwarm();
    swarm.attach(hls);
  }
  /** @type {any} */ (globalThis).payloadRecorder.watch(hls);
  watchHls(config.level);
  watchVideo(config.until);
  video.muted = true;
  video.defaultPlaybackRate = video.playbackRate = config.rate ?? 1;
  hls.attachMedia(video);
}

/** @param {PlayerConfig} config */
async function start(config) {
  if (!hls) await prepare(config);
  beganMs = performance.now();
  hls.loadSource(config.src);
  await video.play();
}

/** Milliseconds from the recording of what is shown to now, in a stream that says when it was recorded. */
function latencyMs() {
  const shown = hls?.playingDate?.getTime();
  return shown === undefined ? null : Date.now() - shown;
}

async function report() {
  return {
    done,
    startLatencyMs,
    latencyMs: latencyMs(),
    startMs,
    stalls,
    position: video.currentTime,
    buffered: ranges(video.buffered),
    fragments: buffered,
    hlsErrors,
    events,
    counts,
    payloads: await /** @type {any} */ (globalThis).payloadRecorder.all(),
    stats: swarm?.stats() ?? null,
    wire: /** @type {any} */ (globalThis).wireTap.report(),
  };
}

Object.assign(globalThis, {
  testPlayer: { prepare, start, report, get hls() { return hls; }, get swarm() { return swarm; }, video },
});
