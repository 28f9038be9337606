// @ts-check
/** How far behind the newest complete segment the picture is. */

import { completeSegments, LIVE_SEGMENTS, SEGMENT_SECONDS } from '../content/playlists.mjs';

const SAMPLE_INTERVAL_MS = 500;

/**
 * Looks at regular times from the first frame on.
 * @param {HTMLVideoElement} video
 * @param {import('hls.js').default} hls
 * @param {number} epochMs when the stream began, by the origin's clock, which is this machine's
 * @returns {{ afterMs: number, seconds: number }[]} grows; `afterMs`: since the first look
 */
export function watchLatency(video, hls, epochMs) {
  /** @type {{ afterMs: number, seconds: number }[]} */
  const samples = [];
  const began = performance.now();
  setInterval(() => {
    const shown = hls.playingDate;
    if (!shown || video.ended) return;
    const now = Date.now();
    const complete = completeSegments(epochMs, now);
    // When nothing is added any more the picture catches up.
    if (complete === LIVE_SEGMENTS) return;
    const seconds = complete * SEGMENT_SECONDS - (shown.getTime() - epochMs) / 1000;
    samples.push({ afterMs: performance.now() - began, seconds });
  }, SAMPLE_INTERVAL_MS);
  return samples;
}
