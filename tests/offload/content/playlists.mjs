// @ts-check
/** The playlists of the bench's streams: on demand, and live by the clock of a run. */

/** Seconds of each segment. */
export const SEGMENT_SECONDS = 2;
/** Segments of a stream on demand. */
export const VOD_SEGMENTS = 30;
/** Segments that a live playlist lists. */
export const LIVE_WINDOW = 8;
/** Segments of a live stream, from the first that is listed when a run begins to its end. */
export const LIVE_SEGMENTS = 38;

/** @param {number} index */
export const segmentName = (index) => `segment-${String(index).padStart(2, '0')}.m4s`;

/**
 * @param {object} list
 * @param {number} list.first index of the first segment
 * @param {number} list.end index after the last one
 * @param {boolean} list.ended nothing comes after it
 * @param {readonly string[]} [list.tags] further tags of the head
 */
function mediaPlaylist({ first, end, ended, tags = [] }) {
  const head = ['#EXTM3U', '#EXT-X-VERSION:7', `#EXT-X-TARGETDURATION:${SEGMENT_SECONDS}`, `#EXT-X-MEDIA-SEQUENCE:${first}`];
  const entries = [];
  for (let index = first; index < end; index += 1) entries.push(`#EXTINF:${SEGMENT_SECONDS},`, segmentName(index));
  const tail = ended ? ['#EXT-X-ENDLIST'] : [];
  return [...head, ...tags, '#EXT-X-INDEPENDENT-SEGMENTS', '#EXT-X-MAP:URI="init.mp4"', ...entries, ...tail, ''].join('\n');
}

/** A stream on demand. @param {number} segments */
export function vodPlaylist(segments) {
  return mediaPlaylist({ first: 0, end: segments, ended: true, tags: ['#EXT-X-PLAYLIST-TYPE:VOD'] });
}

/**
 * Segments that are complete: one more every `SEGMENT_SECONDS` from `epochMs` on.
 * @param {number} epochMs wall time at which the stream began
 * @param {number} nowMs
 */
export function completeSegments(epochMs, nowMs) {
  return Math.max(0, Math.min(LIVE_SEGMENTS, Math.floor((nowMs - epochMs) / (SEGMENT_SECONDS * 1000))));
}

/**
 * The wall time at which a live stream began whose playlist is full at `nowMs`.
 * @param {number} nowMs
 */
export const liveEpochMs = (nowMs) => nowMs - LIVE_WINDOW * SEGMENT_SECONDS * 1000;

/** When the end of a live stream is said: when the next segment would have come. @param {number} epochMs */
export const endMs = (epochMs) => epochMs + (LIVE_SEGMENTS + 1) * SEGMENT_SECONDS * 1000;

/**
 * A live playlist: the newest segments, each from when it is complete.
 * @param {number} epochMs
 * @param {number} nowMs
 */
export function livePlaylist(epochMs, nowMs) {
  const end = completeSegments(epochMs, nowMs);
  const first = Math.max(0, end - LIVE_WINDOW);
  const date = new Date(epochMs + first * SEGMENT_SECONDS * 1000).toISOString();
  return mediaPlaylist({ first, end, ended: nowMs >= endMs(epochMs), tags: [`#EXT-X-PROGRAM-DATE-TIME:${date}`] });
}

/**
 * @typedef {object} Level
 * @property {string} name directory of the level
 * @property {number} kbps
 * @property {{ width: number, height: number }} picture
 */

/** @param {readonly Level[]} levels */
export function masterPlaylist(levels) {
  const entries = levels.flatMap(({ name, kbps, picture: { width, height } }) => [
    `#EXT-X-STREAM-INF:BANDWIDTH=${kbps * 1000},RESOLUTION=${width}x${height},CODECS="avc1.42c00d"`,
    `${name}/playlist.m3u8`,
  ]);
  return ['#EXTM3U', '#EXT-X-VERSION:7', '#EXT-X-INDEPENDENT-SEGMENTS', ...entries, ''].join('\n');
}
