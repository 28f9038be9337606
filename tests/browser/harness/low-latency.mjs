// @ts-check
/** A low-latency live stream (draft-pantos-hls-rfc8216bis): parts, blocking reload, preload hints. */

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CODEC, encode } from './encode.mjs';

const PART_SECONDS = 0.5;
/** Parts of a segment. */
const PARTS = 4;
const SEGMENT_SECONDS = PART_SECONDS * PARTS;
/** Segments of a playlist. */
const WINDOW = 8;
/** Of the newest segments the playlist names the parts too. */
const WITH_PARTS = 2;
/** Segments that are there when it begins. */
const HEAD_START = 5;
/** A server may keep a reload waiting for so long (§6.2.5.2); it answers with what there is then. */
const MAX_BLOCK_MS = 3 * SEGMENT_SECONDS * 1000;

/** The packager and the playlist server of one level, `live/`. */
export class LowLatencyStream {
  #dir = '';
  #source = '';
  #began = 0;
  /** Parts that were written. */
  #parts = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {Set<() => void>} reloads that wait for the next part */
  #waiting = new Set();
  /** Reloads that had to wait for what they asked for. */
  blocked = 0;

  /** @param {number} seconds of stream there are */
  constructor(seconds) {
    this.seconds = seconds;
  }

  /** Writes the stream's beginning to `dir`, as `Stage.open` has it. @param {string} dir */
  async fill(dir) {
    this.#source = join(dir, '..', 'parts');
    this.#dir = join(dir, 'live');
    await encode(this.#source, { seconds: this.seconds, each: PART_SECONDS });
    mkdirSync(this.#dir, { recursive: true });
    copyFileSync(join(this.#source, 'init.mp4'), join(this.#dir, 'init.mp4'));
    const level = `#EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=320x180,CODECS="${CODEC}"`;
    writeFileSync(join(dir, 'master.m3u8'), ['#EXTM3U', '#EXT-X-VERSION:9', level, 'live/playlist.m3u8', ''].join('\n'));
    this.#began = Date.now() - HEAD_START * SEGMENT_SECONDS * 1000;
    while (this.#parts < HEAD_START * PARTS) this.#write();
    this.#wait();
  }

  /** Has the origin serve the playlist. @param {import('./origin.mjs').Origin} origin @param {string} prefix */
  serve(origin, prefix) {
    origin.mountText(`${prefix}live/playlist.m3u8`, (query) => this.#reload(query));
  }

  stop() {
    clearTimeout(this.#timer);
    for (const go of this.#waiting) go();
  }

  #recordedAt(/** @type {number} */ parts) {
    return this.#began + parts * PART_SECONDS * 1000;
  }

  #wait() {
    if ((this.#parts + 1) * PART_SECONDS > this.seconds) return;
    this.#timer = setTimeout(() => {
      this.#write();
      for (const go of this.#waiting) go();
      this.#wait();
    }, this.#recordedAt(this.#parts + 1) - Date.now());
  }

  #partFile(/** @type {number} */ part) {
    return join(this.#source, `${part}.m4s`);
  }

  #write() {
    const part = this.#parts;
    const segment = Math.floor(part / PARTS);
    copyFileSync(this.#partFile(part), join(this.#dir, `live-${segment}.${part % PARTS}.m4s`));
    if (part % PARTS === PARTS - 1) {
      const parts = Array.from({ length: PARTS }, (_, index) => readFileSync(this.#partFile(segment * PARTS + index)));
      writeFileSync(join(this.#dir, `live-${segment}.m4s`), Buffer.concat(parts));
    }
    this.#parts += 1;
  }

  /** Answers when the part that is asked for is there (§6.2.5.2). @param {URLSearchParams} query */
  async #reload(query) {
    const segment = query.get('_HLS_msn');
    if (segment === null) return this.#playlist();
    const part = query.get('_HLS_part');
    const wanted = part === null ? (Number(segment) + 1) * PARTS : Number(segment) * PARTS + Number(part) + 1;
    if (this.#parts < wanted) this.blocked += 1;
    const until = Date.now() + MAX_BLOCK_MS;
    while (this.#parts < wanted && Date.now() < until) await this.#nextPart(until - Date.now());
    return this.#playlist();
  }

  /** @param {number} limitMs */
  #nextPart(limitMs) {
    return new Promise((resolve) => {
      const go = () => {
        clearTimeout(timer);
        this.#waiting.delete(go);
        resolve(undefined);
      };
      const timer = setTimeout(go, limitMs);
      this.#waiting.add(go);
    });
  }

  #playlist() {
    const whole = Math.floor(this.#parts / PARTS);
    const first = Math.max(0, whole - WINDOW);
    const lines = ['#EXTM3U', '#EXT-X-VERSION:9', `#EXT-X-TARGETDURATION:${SEGMENT_SECONDS}`, `#EXT-X-MEDIA-SEQUENCE:${first}`];
    lines.push(`#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=${3 * PART_SECONDS}`);
    lines.push(`#EXT-X-PART-INF:PART-TARGET=${PART_SECONDS}`, '#EXT-X-INDEPENDENT-SEGMENTS', '#EXT-X-MAP:URI="init.mp4"');
    for (let segment = first; segment * PARTS < this.#parts; segment += 1) {
      lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(this.#recordedAt(segment * PARTS)).toISOString()}`);
      for (let part = 0; part < PARTS && segment >= whole - WITH_PARTS && segment * PARTS + part < this.#parts; part += 1) {
        lines.push(`#EXT-X-PART:DURATION=${PART_SECONDS},INDEPENDENT=YES,URI="live-${segment}.${part}.m4s"`);
      }
      if (segment < whole) lines.push(`#EXTINF:${SEGMENT_SECONDS.toFixed(3)},`, `live-${segment}.m4s`);
    }
    lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="live-${whole}.${this.#parts % PARTS}.m4s"`);
    return [...lines, ''].join('\n');
  }
}
