// @ts-check
/** How the streams are signed that are complete before the run. The live one is signed as it goes (live.mjs). */

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { publish } from '../../browser/harness/publish.mjs';
import { STREAMS } from './streams.mjs';

/** @typedef {import('./streams.mjs').StreamName} StreamName */

/** URL prefix of a stream. @param {StreamName} name */
export const prefixOf = (name) => `/${name}/`;

/**
 * Copies the streams and signs the copies, but for the live one.
 * @param {string} streams directory of `makeStreams`
 * @param {string} dir
 * @returns {Promise<Record<StreamName, { dir: string, publisherKey: string }>>}
 */
export async function signStreams(streams, dir) {
  const signed = Object.keys(STREAMS).map(async (name) => {
    const media = join(dir, name);
    cpSync(join(streams, name), media, { recursive: true });
    if (name === 'live') return [name, { dir: media, publisherKey: '' }];
    const stream = `${prefixOf(/** @type {StreamName} */ (name))}master.m3u8`;
    const publisherKey = await publish(media, 'signed', { stream, keyFile: join(dir, `${name}.key`) });
    return [name, { dir: media, publisherKey }];
  });
  return Object.fromEntries(await Promise.all(signed));
}
