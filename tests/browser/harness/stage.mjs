// @ts-check
/** What a test plays on: a stream at an origin, the service, and tabs, all gone when the test ends. */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { wrongPayloads } from './hash.mjs';
import { Origin } from './origin.mjs';
import { publish } from './publish.mjs';
import { Service } from './service.mjs';
import { copySample, temporaryDir } from './streams.mjs';
import { Tab } from './tab.mjs';

/** @typedef {'signed' | 'origin' | 'attested'} Roots */

const MEDIA = '/media/';

/**
 * hls.js configuration for so many seconds of buffer. By `maxBufferLength` alone hls.js keeps 60 MB: all of the sample.
 * @param {number} seconds
 */
export function buffering(seconds) {
  return { maxBufferLength: seconds, maxMaxBufferLength: seconds };
}

/** The stage. */
export class Stage {
  /** @type {Tab[]} */
  #tabs = [];

  /**
   * @param {import('playwright-core').Browser} browser
   * @param {Origin} origin
   * @param {Service} service
   * @param {{ roots: Roots, publisherKey: string | undefined, dir: string, blocklist: string }} stream
   */
  constructor(browser, origin, service, stream) {
    this.browser = browser;
    this.origin = origin;
    this.service = service;
    this.stream = stream;
  }

  /**
   * @param {import('node:test').TestContext} t
   * @param {import('playwright-core').Browser} browser
   * @param {Roots} roots
   * @param {(dir: string) => unknown} [fill] writes the stream, `master.m3u8` at its top; default: the sample
   * @param {typeof publish} [sign] writes its manifest
   */
  static async open(t, browser, roots, fill = copySample, sign = publish) {
    const dir = temporaryDir(t);
    const media = join(dir, 'media');
    await fill(media);
    const keyFile = join(dir, 'key');
    const stream = `${MEDIA}master.m3u8`;
    const publisherKey = roots === 'attested' ? undefined : await sign(media, roots, { stream, keyFile });
    const origin = await Origin.start({ [MEDIA]: media });
    const attest = roots === 'attested' ? ['--attest-origin', origin.url(), '--allow-private-origin'] : [];
    const blocklist = join(dir, 'blocked');
    writeFileSync(blocklist, '# nothing yet\n');
    const service = await Service.start(['serve', '--state-dir', join(dir, 'state'), '--blocklist', blocklist, ...attest]);
    const stage = new Stage(browser, origin, service, { roots, publisherKey, dir: media, blocklist });
    t.after(() => stage.#close());
    return stage;
  }

  /** Options of `Tabswarm.create` for this stage's stream. */
  get swarm() {
    const { roots, publisherKey } = this.stream;
    return { signaling: this.service.signaling, roots, ...(publisherKey && { publisherKey }) };
  }

  /** Has the service block content. @param {readonly string[]} contents ids */
  block(contents) {
    writeFileSync(this.stream.blocklist, contents.join('\n'));
  }

  /**
   * URL of the master playlist, with the viewer's name on it.
   * @param {string} viewer
   * @param {{ base?: string, query?: Record<string, string> }} [options]
   */
  src(viewer, { base = this.origin.url(), query = {} } = {}) {
    return `${base}${MEDIA}master.m3u8?${new URLSearchParams({ viewer, ...query })}`;
  }

  /**
   * Opens the test page; it does nothing yet.
   * @param {string} name
   * @param {{ scripts?: readonly string[], hidden?: boolean }} [options] see `Tab.open`
   */
  async open(name, options) {
    const tab = await Tab.open(this.browser, this.origin.page, { name, ...options });
    this.#tabs.push(tab);
    return tab;
  }

  /**
   * Opens a tab that plays the one high level.
   * @param {string} name
   * @param {Record<string, unknown> & { swarm?: Record<string, unknown> | null }} [config] see `PlayerConfig` in
   *   page/player.js; options in `swarm` are added to this stage's, null is plain hls.js
   */
  async play(name, { swarm = {}, ...config } = {}) {
    const tab = await this.open(name);
    await tab.start({ src: this.src(name), level: 1, swarm: swarm && { ...this.swarm, ...swarm }, ...config });
    return tab;
  }

  /** The payloads that differ from the origin's file. @param {any} report */
  wrong(report) {
    return wrongPayloads(report.payloads, (path) => this.origin.fileOf(path));
  }

  async #close() {
    for (const tab of this.#tabs) await tab.close();
    await this.service.kill();
    await this.origin.stop();
  }
}
