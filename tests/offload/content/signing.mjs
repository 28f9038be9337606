// @ts-check
/**
 * How the streams are signed, the live one too: its segments are ready before the run, so one manifest names them all. To a
 * viewer that is the same as a manifest that grows with the stream.
 */

import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { publish } from '../../browser/harness/publish.mjs';
import { STREAMS } from './streams.mjs';

/** @typedef {import('./streams.mjs').StreamName} StreamName */

/** URL prefix of a stream. @param {StreamName} name */
export const prefixOf = (name) => `/${name}/`;

/**
 * Copies the streams and signs the copies.
 * @param {string} streams directory of `makeStreams`
 * @param {string} dir
 * @returns {Promise<Record<StreamName, { dir: string, publisherKey: string }>>}
 */
export async function signStreams(streams, dir) {
  const signed = Object.keys(STREAMS).map(async (name) => {
    const media = join(dir, name);
    cpSync(join(streams, name), media, { recursive: true });
    const stream = `${prefixOf(/** @type {StreamName} */ (name))}master.m3u8`;
    const publisherKey = await publish(media, 'signed', { stream, keyFile: join(dir, `${name}.key`) });
    return [name, { dir: media, publisherKey }];
  });
  return Object.fromEntries(await Promise.all(signed));
}
