// @ts-check
/** A live stream: a packager that writes the sample segment by segment, and the built `tabswarm publish --watch`. */

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { binary, SAMPLE } from './paths.mjs';
import { until } from './wait.mjs';

const run = promisify(execFile);

const LEVELS = ['low', 'high'];
/** Seconds of each segment of the sample. */
const SEGMENT_SECONDS = 2;
/** Segments of the sample. */
const SAMPLE_SEGMENTS = 30;
/** Segments of a playlist. */
const WINDOW = 8;
/** Segments that are there when it begins. */
const HEAD_START = 4;

/**
 * Writes as ffmpeg does: a segment into its file, then the playlist by rename, then it deletes what has left the playlist. At
 * the end of the sample it begins again, behind a discontinuity.
 */
export class Packager {
  #dir;
  #archive;
  #began = 0;
  #next = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {string} dir where to write
   * @param {string} archive where to keep what was written
   */
  constructor(dir, archive) {
    this.#dir = dir;
    this.#archive = archive;
  }

  /** Segments of each level that were written. */
  get written() {
    return this.#next;
  }

  start() {
    for (const level of LEVELS) {
      for (const dir of [this.#dir, this.#archive]) {
        mkdirSync(join(dir, level), { recursive: true });
        copyFileSync(join(SAMPLE, level, 'init.mp4'), join(dir, level, 'init.mp4'));
      }
    }
    this.#began = Date.now() - HEAD_START * SEGMENT_SECONDS * 1000;
    while (this.#next < HEAD_START) this.#write();
    copyFileSync(join(SAMPLE, 'master.m3u8'), join(this.#dir, 'master.m3u8'));
    this.#wait();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  /** What a URL's path led to, when it was written. @param {string} path */
  fileOf(path) {
    return join(this.#archive, path.split('/').slice(-2).join('/'));
  }

  #recordedAt(/** @type {number} */ number) {
    return this.#began + number * SEGMENT_SECONDS * 1000;
  }

  #wait() {
    const dueMs = this.#recordedAt(this.#next + 1) - Date.now();
    this.#timer = setTimeout(() => {
      this.#write();
      this.#wait();
    }, dueMs);
  }

  #write() {
    const number = this.#next;
    this.#next += 1;
    for (const level of LEVELS) {
      const name = `live-${number}.m4s`;
      const sample = `segment-${String(number % SAMPLE_SEGMENTS).padStart(2, '0')}.m4s`;
      for (const dir of [this.#archive, this.#dir]) copyFileSync(join(SAMPLE, level, sample), join(dir, level, name));
      const path = join(this.#dir, level, 'playlist.m3u8');
      writeFileSync(`${path}.tmp`, this.#playlist());
      renameSync(`${path}.tmp`, path);
      rmSync(join(this.#dir, level, `live-${number - WINDOW - 1}.m4s`), { force: true });
    }
  }

  #playlist() {
    const first = Math.max(0, this.#next - WINDOW);
    const lines = ['#EXTM3U', '#EXT-X-VERSION:7', `#EXT-X-TARGETDURATION:${SEGMENT_SECONDS}`, `#EXT-X-MEDIA-SEQUENCE:${first}`];
    lines.push(`#EXT-X-DISCONTINUITY-SEQUENCE:${Math.max(0, Math.floor((first - 1) / SAMPLE_SEGMENTS))}`);
    lines.push('#EXT-X-INDEPENDENT-SEGMENTS', '#EXT-X-MAP:URI="init.mp4"');
    for (let number = first; number < this.#next; number += 1) {
      if (number > 0 && number % SAMPLE_SEGMENTS === 0) lines.push('#EXT-X-DISCONTINUITY');
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(this.#recordedAt(number)).toISOString()}`);
      lines.push(`#EXTINF:${SEGMENT_SECONDS.toFixed(3)},`, `live-${number}.m4s`);
    }
    return [...lines, ''].join('\n');
  }
}

/** The built publisher as a process of its own, to be killed and started again. */
export class Publisher {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process;
  /** @type {string[]} */
  #args;
  /** What it said. */
  log = '';

  /**
   * @param {string} playlist the packager's
   * @param {{ keyFile: string, stream: string, out?: string }} options
   */
  constructor(playlist, { keyFile, stream, out }) {
    this.#args = ['publish', '--watch', '--key', keyFile, '--stream', stream, ...(out ? ['--out', out] : []), playlist];
    this.keyFile = keyFile;
  }

  /** Makes the key. @returns {Promise<string>} its public part */
  async keygen() {
    const { stdout } = await run(binary('tabswarm'), ['keygen', '--key', this.keyFile]);
    return /^publisher key\s+([0-9a-f]{64})$/m.exec(stdout)?.[1] ?? '';
  }

  /** Starts the process, again if it was killed. */
  run() {
    const process = spawn(binary('tabswarm'), this.#args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [process.stdout, process.stderr]) stream.setEncoding('utf8').on('data', (text) => (this.log += text));
    this.#process = process;
  }

  /** Kills the process as a crash would, and waits until it is gone. */
  async kill() {
    const process = this.#process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    process.kill('SIGKILL');
    await once(process, 'exit');
  }
}

/**
 * What `Stage.open` needs for a live stream that is signed while it runs.
 * @param {import('node:test').TestContext} t
 * @param {{ inPlace?: boolean }} [options] the packager writes where viewers load from
 */
export function liveStream(t, { inPlace = false } = {}) {
  /** @type {Packager} */
  let packager;
  /** @type {Publisher} */
  let publisher;
  // Before the directory is removed: what is called first is ended first.
  t.after(async () => {
    packager?.stop();
    await publisher?.kill();
  });
  return {
    fill: (/** @type {string} */ media) => {
      mkdirSync(media, { recursive: true });
      packager = new Packager(inPlace ? media : join(media, '..', 'packager'), join(media, '..', 'archive'));
      packager.start();
    },
    /** @type {typeof import('./publish.mjs').publish} */
    sign: async (media, _roots, { stream, keyFile }) => {
      const source = inPlace ? media : join(media, '..', 'packager');
      const out = inPlace ? {} : { out: media };
      publisher = new Publisher(join(source, 'master.m3u8'), { keyFile, stream, ...out });
      const key = await publisher.keygen();
      publisher.run();
      const written = () => ['master.m3u8', 'master.m3u8.tabswarm'].every((name) => isThere(join(media, name)));
      await until('the stream is published', written, { dump: () => publisher.log });
      return key;
    },
    get packager() {
      return packager;
    },
    get publisher() {
      return publisher;
    },
  };
}

/** @param {string} path */
function isThere(path) {
  try {
    return readFileSync(path).length > 0;
  } catch {
    return false;
  }
}

/** The number of a live segment. @param {string} url */
export function segmentNumber(url) {
  return Number(/^live-(\d+)\.m4s$/.exec(basename(new URL(url).pathname))?.[1] ?? -1);
}
