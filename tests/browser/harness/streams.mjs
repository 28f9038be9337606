// @ts-check
/** Streams in temporary directories: the sample, its beginning, the sample as byte ranges, and one of many plain files. */

import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCipheriv, createHash } from 'node:crypto';
import { SAMPLE } from './paths.mjs';

/** Seconds of each segment of the sample. */
const SEGMENT_SECONDS = 2;

/**
 * A directory that is gone after the test.
 * @param {import('node:test').TestContext} t
 */
export function temporaryDir(t) {
  const dir = mkdtempSync(join(tmpdir(), 'tabswarm-browser-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Copies the sample to `dir`. @param {string} dir */
export function copySample(dir) {
  cpSync(SAMPLE, dir, { recursive: true });
}

/**
 * Copies the first seconds of the sample to `dir`.
 * @param {string} dir
 * @param {number} seconds
 */
export function shortSample(dir, seconds) {
  copySample(dir);
  for (const level of ['high', 'low']) {
    const path = join(dir, level, 'playlist.m3u8');
    const [head, ...segments] = readFileSync(path, 'utf8').replace('#EXT-X-ENDLIST\n', '').split(/(?=#EXTINF)/);
    const kept = segments.slice(0, seconds / SEGMENT_SECONDS);
    writeFileSync(path, [head, ...kept, '#EXT-X-ENDLIST\n'].join(''));
  }
}

/**
 * Writes the sample to `dir` with each level in one file, its segments and its init segment byte ranges of it.
 * @param {string} dir
 */
export function byteRangeSample(dir) {
  const master = readFileSync(join(SAMPLE, 'master.m3u8'), 'utf8');
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'master.m3u8'), master);
  for (const path of master.split('\n').filter((line) => line && !line.startsWith('#'))) {
    const level = path.split('/').slice(0, -1).join('/');
    mkdirSync(join(dir, level), { recursive: true });
    const parts = /** @type {Buffer[]} */ ([]);
    let offset = 0;
    const range = (/** @type {string} */ name) => {
      const bytes = readFileSync(join(SAMPLE, level, name));
      parts.push(bytes);
      offset += bytes.length;
      return `${bytes.length}@${offset - bytes.length}`;
    };
    const lines = readFileSync(join(SAMPLE, path), 'utf8').split('\n').map((line) => {
      const map = /^#EXT-X-MAP:URI="([^"]*)"/.exec(line);
      if (map) return `#EXT-X-MAP:URI="all.mp4",BYTERANGE="${range(map[1])}"`;
      if (!line || line.startsWith('#')) return line;
      return `#EXT-X-BYTERANGE:${range(line)}\nall.mp4`;
    });
    writeFileSync(join(dir, path), lines.join('\n'));
    writeFileSync(join(dir, level, 'all.mp4'), Buffer.concat(parts));
  }
}

/**
 * Copies the sample to `dir` with its segments encrypted, each whole (RFC 8216 §4.3.2.4, AES-128).
 * @param {string} dir
 */
export function encryptedSample(dir) {
  copySample(dir);
  const key = createHash('sha256').update('tabswarm browser tests').digest().subarray(0, 16);
  const iv = Buffer.alloc(16, 7);
  for (const level of ['high', 'low']) {
    writeFileSync(join(dir, level, 'secret.key'), key);
    const path = join(dir, level, 'playlist.m3u8');
    const lines = readFileSync(path, 'utf8').split('\n');
    for (const name of lines.filter((line) => line && !line.startsWith('#'))) {
      const cipher = createCipheriv('aes-128-cbc', key, iv);
      const plain = readFileSync(join(dir, level, name));
      writeFileSync(join(dir, level, name), Buffer.concat([cipher.update(plain), cipher.final()]));
    }
    // The init segment before it is as it was.
    const tag = `#EXT-X-KEY:METHOD=AES-128,URI="secret.key",IV=0x${iv.toString('hex')}`;
    writeFileSync(path, lines.map((line) => (line.startsWith('#EXT-X-MAP') ? `${line}\n${tag}` : line)).join('\n'));
  }
}

/**
 * Writes a playlist of `count` files of one size that no compression or repetition helps with, the same on every run.
 * @param {string} dir
 * @param {number} count
 * @param {number} [bytes] of each file
 */
export function bulkStream(dir, count, bytes = 1_000_000) {
  mkdirSync(dir, { recursive: true });
  const key = createHash('sha256').update('tabswarm browser tests').digest();
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16));
  const names = Array.from({ length: count }, (_, i) => `bulk-${String(i).padStart(3, '0')}.ts`);
  for (const name of names) writeFileSync(join(dir, name), cipher.update(Buffer.alloc(bytes)));
  const entries = names.flatMap((name) => ['#EXTINF:2,', name]);
  const head = ['#EXTM3U', '#EXT-X-VERSION:3', '#EXT-X-TARGETDURATION:2', '#EXT-X-PLAYLIST-TYPE:VOD'];
  writeFileSync(join(dir, 'playlist.m3u8'), [...head, ...entries, '#EXT-X-ENDLIST', ''].join('\n'));
  writeFileSync(
    join(dir, 'master.m3u8'),
    '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=4000000\nplaylist.m3u8\n',
  );
  return names;
}
