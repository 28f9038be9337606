// @ts-check
/** What the origin's files really hold. */

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

/**
 * SHA-256 as hex.
 * @param {Uint8Array} bytes
 */
export function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * A payload as the recorder in the page saw it.
 * @typedef {object} Payload
 * @property {string} url
 * @property {number} [rangeStart]
 * @property {number} [rangeEnd]
 * @property {number} bytes
 * @property {string} sha256
 */

/**
 * The payloads that differ from the origin's file.
 * @template {Payload} T
 * @param {readonly T[]} payloads
 * @param {(path: string) => string | undefined} fileOf file of a URL's path
 * @returns {T[]}
 */
export function wrongPayloads(payloads, fileOf) {
  return payloads.filter(({ url, rangeStart, rangeEnd, bytes, sha256: seen }) => {
    const file = fileOf(decodeURIComponent(new URL(url).pathname));
    if (!file) return true;
    const whole = readFileSync(file);
    const expected = rangeEnd ? whole.subarray(rangeStart ?? 0, rangeEnd) : whole;
    return expected.length !== bytes || sha256(expected) !== seen;
  });
}
