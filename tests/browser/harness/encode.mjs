// @ts-check
/** Pictures without sound, and sound without pictures, that ffmpeg makes: where the sample does not fit. */

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

const FPS = 24;

/** What the streams made here say that they are. */
export const CODEC = 'avc1.42c015';
export const AUDIO_CODEC = 'mp4a.40.2';

/** @param {string} dir @param {number} each seconds of a file @param {readonly string[]} source arguments up to the codec's */
async function segmented(dir, each, source) {
  mkdirSync(dir, { recursive: true });
  const args = [
    ...['-hide_banner', '-loglevel', 'error', '-y', ...source],
    ...['-f', 'hls', '-hls_time', `${each}`, '-hls_list_size', '0', '-hls_segment_type', 'fmp4', '-hls_playlist_type', 'vod'],
    ...['-hls_fmp4_init_filename', 'init.mp4', '-hls_segment_filename', '%d.m4s', 'made.m3u8'],
  ];
  await run(process.env.FFMPEG ?? 'ffmpeg', args, { cwd: dir });
}

/**
 * Makes `init.mp4`, `<n>.m4s` from 0 on and their playlist `made.m3u8` in `dir`: a picture that moves, a key frame at the front of
 * each file.
 * @param {string} dir
 * @param {{ seconds: number, each: number, size?: string }} what `each`: seconds of a file
 */
export function encode(dir, { seconds, each, size = '320x180' }) {
  const gop = `${FPS * each}`;
  return segmented(dir, each, [
    ...['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=${FPS}:duration=${seconds}`],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'baseline', '-threads', '1', '-pix_fmt', 'yuv420p'],
    ...['-b:v', '600k', '-g', gop, '-keyint_min', gop, '-sc_threshold', '0'],
  ]);
}

/**
 * The same of a tone.
 * @param {string} dir
 * @param {{ seconds: number, each: number }} what `each`: seconds of a file, about
 */
export function encodeTone(dir, { seconds, each }) {
  return segmented(dir, each, ['-f', 'lavfi', '-i', `sine=frequency=440:duration=${seconds}`, '-c:a', 'aac', '-b:a', '96k']);
}
