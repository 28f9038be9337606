// @ts-check
/** Pictures without sound that ffmpeg makes: where the sample does not fit. */

import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);

const FPS = 24;

/** What the streams made here say that they are. */
export const CODEC = 'avc1.42c015';

/**
 * Makes `init.mp4` and `<n>.m4s` from 0 on in `dir`: a picture that moves, a key frame at the front of each file.
 * @param {string} dir
 * @param {{ seconds: number, each: number, size?: string }} what `each`: seconds of a file
 */
export async function encode(dir, { seconds, each, size = '320x180' }) {
  mkdirSync(dir, { recursive: true });
  const gop = `${FPS * each}`;
  await run(
    process.env.FFMPEG ?? 'ffmpeg',
    [
      ...['-hide_banner', '-loglevel', 'error', '-y', '-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=${FPS}:duration=${seconds}`],
      ...['-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'baseline', '-threads', '1', '-pix_fmt', 'yuv420p'],
      ...['-b:v', '600k', '-g', gop, '-keyint_min', gop, '-sc_threshold', '0'],
      ...['-f', 'hls', '-hls_time', `${each}`, '-hls_list_size', '0', '-hls_segment_type', 'fmp4'],
      ...['-hls_fmp4_init_filename', 'init.mp4', '-hls_segment_filename', '%d.m4s', 'made.m3u8'],
    ],
    { cwd: dir },
  );
}
