// @ts-check
/**
 * Opens viewers of the demo page, plays the sample to its end and prints their table:
 * `node viewers.mjs --url http://127.0.0.1:8080 --viewers 4 --mode signed`.
 */

import { parseArgs } from 'node:util';
import { formatSummary, runViewers } from './harness/viewers.mjs';

const MODES = ['signed', 'origin', 'attested'];

const { values } = parseArgs({
  options: {
    'join-interval': { type: 'string', default: '2000' },
    mode: { type: 'string' },
    url: { type: 'string' },
    viewers: { type: 'string', default: '4' },
  },
});
const viewers = Number(values.viewers);
const joinIntervalMs = Number(values['join-interval']);
if (!values.url || !(viewers >= 1) || !(joinIntervalMs >= 0) || (values.mode && !MODES.includes(values.mode))) {
  console.error(`usage: node viewers.mjs --url URL [--viewers N] [--mode ${MODES.join('|')}] [--join-interval MS]`);
  process.exit(2);
}

const mode = /** @type {'signed' | 'origin' | 'attested' | undefined} */ (values.mode);
const summary = await runViewers({ url: values.url, viewers, mode, joinIntervalMs, log: console.error });
console.log(formatSummary(summary));
process.exit(summary.complete && summary.offloadReached && summary.wrong === 0 ? 0 : 1);
