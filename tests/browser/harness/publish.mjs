// @ts-check
/** Manifests for the tests' streams, written by the built `tabswarm` binary. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { binary } from './paths.mjs';

const run = promisify(execFile);

/**
 * Writes the manifest and its group lists beside `media`/master.m3u8.
 * @param {string} media directory
 * @param {'origin' | 'signed'} roots
 * @param {{ stream: string, keyFile: string }} options `keyFile`: where a publisher's key is made
 * @returns {Promise<string | undefined>} the publisher's key of a signed stream
 */
export async function publish(media, roots, { stream, keyFile }) {
  const tabswarm = binary('tabswarm');
  const args = ['publish', join(media, 'master.m3u8'), '--stream', stream];
  if (roots === 'origin') {
    await run(tabswarm, [...args, '--unsigned']);
    return undefined;
  }
  await run(tabswarm, ['keygen', '--key', keyFile]);
  const { stdout } = await run(tabswarm, [...args, '--key', keyFile]);
  const key = /^publisher key\s+([0-9a-f]{64})$/m.exec(stdout)?.[1];
  if (!key) throw new Error(`no publisher key in: ${stdout}`);
  return key;
}
