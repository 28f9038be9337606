// @ts-check
/**
 * The bench's streams: noise that costs little to decode and fills its bit rate to the last bit, made once by ffmpeg and kept.
 */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LIVE_SEGMENTS, masterPlaylist, SEGMENT_SECONDS, segmentName, VOD_SEGMENTS, vodPlaylist } from './playlists.mjs';

/** @typedef {import('./playlists.mjs').Level} Level */

const run = promisify(execFile);

const FPS = 25;
/** Distance of a stream's real rate from the one it says that it has. */
const MAX_RATE_ERROR = 0.03;

/** @type {Level} */
const HIGH = { name: 'high', kbps: 2000, picture: { width: 320, height: 180 } };
/** @type {Level} */
const LOW = { name: 'low', kbps: 800, picture: { width: 256, height: 144 } };

/**
 * @typedef {object} Stream
 * @property {readonly Level[]} levels
 * @property {number} segments
 */

/** @type {Record<'abr' | 'live' | 'vod', Stream>} */
export const STREAMS = {
  abr: { levels: [LOW, HIGH], segments: VOD_SEGMENTS },
  live: { levels: [HIGH], segments: LIVE_SEGMENTS },
  vod: { levels: [HIGH], segments: VOD_SEGMENTS },
};

/** @typedef {keyof typeof STREAMS} StreamName */

/** Bytes a second of a stream's best level, as it says. @param {StreamName} name */
export function bytesPerSecond(name) {
  return Math.max(...STREAMS[name].levels.map(({ kbps }) => (kbps * 1000) / 8));
}

/**
 * ffmpeg's arguments for a level: groups of pictures of one segment, constant bit rate, one thread and exact muxing, so that the
 * same ffmpeg gives the same bytes.
 * @param {Level} level
 * @param {number} segments
 */
function encoderArguments({ kbps, picture: { width, height } }, segments) {
  const gop = FPS * SEGMENT_SECONDS;
  const source = `testsrc2=size=${width}x${height}:rate=${FPS}:duration=${segments * SEGMENT_SECONDS},noise=alls=40:allf=t`;
  const rate = ['-b:v', `${kbps}k`, '-minrate', `${kbps}k`, '-maxrate', `${kbps}k`, '-bufsize', `${kbps / 2}k`];
  return [
    ...['-hide_banner', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', source],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'baseline', '-threads', '1', '-pix_fmt', 'yuv420p'],
    ...['-g', `${gop}`, '-keyint_min', `${gop}`, '-sc_threshold', '0', '-flags', '+cgop+bitexact', '-fflags', '+bitexact'],
    ...[...rate, '-x264-params', 'nal-hrd=cbr', '-f', 'hls', '-hls_time', `${SEGMENT_SECONDS}`, '-hls_playlist_type', 'vod'],
    ...['-hls_segment_type', 'fmp4', '-hls_fmp4_init_filename', 'init.mp4'],
    ...['-hls_segment_filename', 'segment-%02d.m4s', 'playlist.m3u8'],
  ];
}

/** @param {string} dir @param {Level} level @param {number} segments */
async function encode(dir, level, segments) {
  mkdirSync(dir, { recursive: true });
  await run(process.env.FFMPEG ?? 'ffmpeg', encoderArguments(level, segments), { cwd: dir });
  // ffmpeg's playlist says the same in other words; one writer of playlists for all streams.
  writeFileSync(join(dir, 'playlist.m3u8'), vodPlaylist(segments));
  const sizes = Array.from({ length: segments }, (_, index) => statSync(join(dir, segmentName(index))).size);
  const kbps = (sizes.reduce((sum, size) => sum + size, 0) * 8) / 1000 / (segments * SEGMENT_SECONDS);
  if (Math.abs(kbps / level.kbps - 1) > MAX_RATE_ERROR) throw new Error(`${dir} has ${kbps.toFixed(0)} kbit/s, not ${level.kbps}`);
}

/**
 * Makes what is not there yet of the streams.
 * @param {string} cache directory
 * @returns {Promise<string>} directory with one of each stream's name in it, `master.m3u8` at its top
 */
export async function makeStreams(cache) {
  const recipes = Object.values(STREAMS).map(({ levels, segments }) => levels.map((one) => encoderArguments(one, segments)));
  const recipe = JSON.stringify(recipes);
  const dir = join(cache, createHash('sha256').update(recipe).digest('hex').slice(0, 12));
  if (existsSync(dir)) return dir;
  const unfinished = `${dir}.unfinished`;
  rmSync(unfinished, { recursive: true, force: true });
  for (const [name, { levels, segments }] of Object.entries(STREAMS)) {
    for (const level of levels) await encode(join(unfinished, name, level.name), level, segments);
    writeFileSync(join(unfinished, name, 'master.m3u8'), masterPlaylist(levels));
  }
  renameSync(unfinished, dir);
  return dir;
}

/**
 * What the streams are, for comparing runs: another ffmpeg may have made other bytes.
 * @param {string} dir
 */
export function contentId(dir) {
  const hash = createHash('sha256');
  for (const [name, { levels, segments }] of Object.entries(STREAMS)) {
    for (const level of levels) {
      const files = Array.from({ length: segments }, (_, index) => join(dir, name, level.name, segmentName(index)));
      for (const file of files) hash.update(readFileSync(file));
    }
  }
  return hash.digest('hex').slice(0, 12);
}
