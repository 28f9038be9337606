// @ts-check
/** A live stream as it comes about: a packager writes by the clock of a run, and a publisher signs what is there. */

import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Publisher } from '../../browser/harness/live.mjs';
import { until } from '../../browser/harness/wait.mjs';
import { completeSegments, endMs, liveEpochMs, livePlaylist, SEGMENT_SECONDS, segmentName } from './playlists.mjs';

/** Its playlist is full when it starts. */
export class LiveStream {
  #source;
  #levels;
  #dir = mkdtempSync(join(tmpdir(), 'tabswarm-bench-live-'));
  #packed = join(this.#dir, 'packager');
  #published = join(this.#dir, 'published');
  #written = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Publisher | undefined} */
  #publisher;

  /**
   * @param {string} source directory of the finished stream
   * @param {readonly string[]} levels
   */
  constructor(source, levels) {
    this.#source = source;
    this.#levels = levels;
    for (const dir of [this.#published, ...levels.map((level) => join(this.#packed, level))]) mkdirSync(dir, { recursive: true });
  }

  /** Directory that viewers load from: where the publisher writes, if there is one. */
  get dir() {
    return this.#publisher ? this.#published : this.#packed;
  }

  /**
   * Has it signed while it runs.
   * @param {string} stream its name
   * @returns {Promise<string>} the publisher's key
   */
  async sign(stream) {
    const keyFile = join(this.#dir, 'publisher.key');
    this.#publisher = new Publisher(join(this.#packed, 'master.m3u8'), { keyFile, stream, out: this.#published });
    return this.#publisher.keygen();
  }

  /** @returns {Promise<number>} wall time at which it began */
  async start() {
    const epochMs = liveEpochMs(Date.now());
    for (const level of this.#levels) copyFileSync(join(this.#source, level, 'init.mp4'), join(this.#packed, level, 'init.mp4'));
    this.#write(epochMs);
    copyFileSync(join(this.#source, 'master.m3u8'), join(this.#packed, 'master.m3u8'));
    this.#publisher?.run();
    const isThere = () => ['master.m3u8', 'master.m3u8.tabswarm'].every((name) => existsSync(join(this.#published, name)));
    if (this.#publisher) await until('the stream is published', isThere, { dump: () => this.#publisher?.log ?? '' });
    return epochMs;
  }

  async stop() {
    clearTimeout(this.#timer);
    await this.#publisher?.kill();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Writes what is complete by now, as ffmpeg does: segments, then the playlist by rename. */
  #write(/** @type {number} */ epochMs) {
    const nowMs = Date.now();
    for (; this.#written < completeSegments(epochMs, nowMs); this.#written += 1) {
      const name = segmentName(this.#written);
      for (const level of this.#levels) copyFileSync(join(this.#source, level, name), join(this.#packed, level, name));
    }
    for (const level of this.#levels) {
      const playlist = join(this.#packed, level, 'playlist.m3u8');
      writeFileSync(`${playlist}.tmp`, livePlaylist(epochMs, nowMs));
      renameSync(`${playlist}.tmp`, playlist);
    }
    if (nowMs >= endMs(epochMs)) return;
    const periodMs = SEGMENT_SECONDS * 1000;
    this.#timer = setTimeout(() => this.#write(epochMs), periodMs - ((nowMs - epochMs) % periodMs));
  }
}
