// @ts-check
/**
 * How fast verified content comes from one tab to another, beside a bare data channel: `cargo xtask bench transfer` builds what is
 * measured and calls this with a directory for the figures.
 */

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FRAMES, SEGMENT_BYTES, SEGMENTS, Stage } from './transfer/measure.mjs';
import { buildOf, machine } from './versions.mjs';

/** @typedef {import('./transfer/measure.mjs').Round} Round */

const { values } = parseArgs({ options: { dir: { type: 'string' }, rounds: { type: 'string', default: '3' } } });
const rounds = Number(values.rounds);
if (!values.dir || !Number.isInteger(rounds) || rounds < 1) {
  console.error('usage: node transfer.mjs --dir DIR [--rounds N]');
  process.exit(2);
}

/** @param {readonly number[]} values */
function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** The swarm's rate as a share of the better bare channel's of the same round. @param {Round} round */
function ratioOf({ swarm, bare }) {
  return swarm.bytesPerSecond / Math.max(...bare.map(({ bytesPerSecond }) => bytesPerSecond));
}

/** @param {string} where @param {readonly Round[]} all */
function rowOf(where, all) {
  const shown = (/** @type {(round: Round) => import('./transfer/measure.mjs').Transfer} */ of) => {
    const [rate, cpu] = [median(all.map((round) => of(round).bytesPerSecond)), median(all.map((round) => of(round).cpuPer100MB))];
    return `${(rate / 1e6).toFixed(1)} / ${cpu.toFixed(1)}`;
  };
  const bare = FRAMES.map((_, index) => shown((round) => round.bare[index]));
  return `| ${[where, shown(({ swarm }) => swarm), ...bare, median(all.map(ratioOf)).toFixed(2)].join(' | ')} |`;
}

/** @type {Record<string, Round[]>} */
const measured = {};
for (const [where, browsers] of /** @type {const} */ ([['one browser', 1], ['two browsers', 2]])) {
  const stage = await Stage.open(browsers);
  try {
    measured[where] = [];
    for (let number = 0; number < rounds; number += 1) measured[where].push(await stage.round());
  } finally {
    await stage.close();
  }
}
const head = ['tabs in', 'tabswarm', ...FRAMES.map((bytes) => `bare, ${bytes / 1024} KiB`), 'ratio'];
const lines = [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`];
lines.push(...Object.entries(measured).map(([where, all]) => rowOf(where, all)));
console.log(`MB/s / CPU seconds for 100 MB, medians of ${rounds}; ${SEGMENTS} segments of ${SEGMENT_BYTES / 1e6} MB\n\n${lines.join('\n')}`);
mkdirSync(values.dir, { recursive: true });
const made = { date: new Date().toISOString(), machine: machine(), build: buildOf(/** @type {any} */ ({ page: 'tabswarm' })) };
writeFileSync(join(values.dir, 'transfer.json'), `${JSON.stringify({ ...made, measured }, null, 1)}\n`);
