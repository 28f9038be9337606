// @ts-check
/** The page of a viewer: hls.js with the plugin of `?plugin=`, and what a viewer sees of how it goes. */

import Hls from 'hls.js';
import { METERED_EVENTS, playableAhead, StallMeter } from '../../../web-demo/src/playback.ts';
import { watchLatency } from './live-latency.js';
import { Progress } from './progress.js';

/**
 * @typedef {object} PlayerConfig
 * @property {string} src URL of the master playlist
 * @property {Record<string, unknown>} options of the plugin
 * @property {number} limitMs gives up after this
 * @property {number} [epochMs] when a live stream began
 */

/** How often hls.js is told to recover from an error of the decoder, as its documentation has it. */
const MAX_RECOVERIES = 3;
const WATCH_INTERVAL_MS = 250;
/** A position that stands for longer is a stall, whatever the reason. */
const FROZEN_MS = 1000;
/** The last frame is shown up to here, seconds. */
const END_TOLERANCE = 0.1;

/** @typedef {{ createPlayer(options: Record<string, unknown>): Promise<Hls>, diagnosis?(): unknown }} PluginModule */

/** @type {Record<string, () => Promise<PluginModule>>} */
const PLUGINS = {
  p2pml: () => import('./plugins/p2pml.js'),
  plain: () => import('./plugins/plain.js'),
  tabswarm: () => import('./plugins/tabswarm.js'),
};
const { createPlayer, diagnosis } = await PLUGINS[new URL(location.href).searchParams.get('plugin') ?? 'plain']();

const video = /** @type {HTMLVideoElement} */ (document.getElementById('video'));
/** @type {StallMeter} */
let meter;
let began = 0;
/** @type {number | null} */
let startMs = null;
/** From the first frame on. @type {Progress | undefined} */
let progress;
let endedMs = Infinity;
/** @type {Promise<void>} */
let over;
/** @type {{ path: string, level: number }[]} segments that were on the screen, in order */
const shown = [];
/** @type {{ atMs: number, details: string, fatal: boolean }[]} */
const hlsErrors = [];
/** When playback stood, and what was buffered then. @type {{ atMs: number, position: number, aheadSeconds: number }[]} */
const interruptions = [];
/** @type {ReturnType<typeof watchLatency>} */
let latency = [];

/** @param {Hls} hls */
function watchHls(hls) {
  let recoveries = 0;
  hls.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => {
    const { pathname } = new URL(frag.url);
    if (!shown.some(({ path }) => path === pathname)) shown.push({ path: pathname, level: frag.level });
  });
  hls.on(Hls.Events.ERROR, (_, { details, fatal, type }) => {
    hlsErrors.push({ atMs: performance.now() - began, details, fatal });
    if (!fatal || type !== Hls.ErrorTypes.MEDIA_ERROR || recoveries >= MAX_RECOVERIES) return;
    recoveries += 1;
    hls.recoverMediaError();
  });
}

function watchVideo() {
  for (const name of METERED_EVENTS) {
    video.addEventListener(name, () => meter.handle(name, performance.now(), playableAhead(video)));
  }
  video.addEventListener('waiting', () => {
    interruptions.push({ atMs: performance.now(), position: video.currentTime, aheadSeconds: playableAhead(video) });
  });
  video.requestVideoFrameCallback((_, { mediaTime }) => {
    const now = performance.now();
    startMs = now - began;
    progress = new Progress(mediaTime, now);
    // A picture that then stands is a stall, though no `playing` was ever said.
    meter.handle('playing', now, 0);
  });
  video.addEventListener('ended', () => (endedMs = performance.now()));
}

/**
 * Tells the meter of a picture that stands and stays: where no event says so, after an error or a seek of hls.js that leads
 * nowhere, and where data is at hand that no decoder takes.
 */
function watchPosition() {
  let told = false;
  const grows = (/** @type {(nowMs: number) => number} */ total, /** @type {number} */ now) => total(now + 1) > total(now);
  setInterval(() => {
    const now = performance.now();
    if (!progress || video.ended) return;
    if (progress.look(video.currentTime, now)) {
      if (told) meter.handle('playing', now, 0);
      told = false;
      return;
    }
    const stands = now - progress.movedMs > FROZEN_MS && video.duration - video.currentTime > END_TOLERANCE;
    if (!stands || grows((at) => meter.stalledMs(at), now)) return;
    const since = grows((at) => meter.hitchedMs(at), now) ? now : progress.movedMs;
    meter.handle('pause', since, 0);
    meter.handle('waiting', since, 0);
    told = true;
  }, WATCH_INTERVAL_MS);
}

/** @param {PlayerConfig} config */
async function start({ src, options, limitMs, epochMs }) {
  began = performance.now();
  meter = new StallMeter(began, true);
  over = new Promise((resolve) => {
    video.addEventListener('ended', () => resolve());
    setTimeout(resolve, limitMs);
  });
  const hls = await createPlayer(options);
  /** @type {any} */ (globalThis).payloadRecorder.watch(hls);
  watchHls(hls);
  watchVideo();
  watchPosition();
  if (epochMs !== undefined) latency = watchLatency(video, hls, epochMs);
  hls.attachMedia(video);
  hls.loadSource(src);
  // Refused when the page is left first.
  video.play().catch(() => undefined);
}

async function report() {
  const now = Math.min(performance.now(), endedMs);
  progress?.look(video.currentTime, performance.now());
  return {
    began,
    beganWallMs: performance.timeOrigin + began,
    ended: video.ended,
    startMs,
    stalls: meter.stalls,
    stallSeconds: meter.stalledMs(now) / 1000,
    hitches: meter.hitches,
    hitchSeconds: meter.hitchedMs(now) / 1000,
    playedSeconds: progress?.playedSeconds ?? 0,
    skippedSeconds: progress?.skippedSeconds ?? 0,
    shown,
    latency,
    hlsErrors,
    interruptions,
    diagnosis: diagnosis?.() ?? null,
    payloads: await /** @type {any} */ (globalThis).payloadRecorder.all(),
    traffic: /** @type {any} */ (globalThis).wireTap.report().traffic,
  };
}

Object.assign(globalThis, { testPlayer: { start, report, over: () => over } });
