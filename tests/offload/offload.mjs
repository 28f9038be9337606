// @ts-check
/**
 * Plugins side by side in real tabs: `cargo xtask bench offload` builds what is measured and calls this with a directory for
 * everything that is made.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../browser/harness/paths.mjs';
import { barsTable } from './bars.mjs';
import { buildPage } from './build-page.mjs';
import { signStreams } from './content/signing.mjs';
import { contentId, makeStreams } from './content/streams.mjs';
import { figuresOf, median, medianFigures } from './measure/figures.mjs';
import { httpWaits } from './measure/patience.mjs';
import { planOf } from './plan.mjs';
import { plugin, PLUGINS } from './plugins.mjs';
import { measureRun } from './run.mjs';
import { SavedRuns } from './saved.mjs';
import { scenario, SCENARIOS } from './scenarios.mjs';
import { markdownTables, writeBetweenMarkers } from './table.mjs';
import { buildOf, machine, NO_BUILD, versionOf } from './versions.mjs';

/** @typedef {import('./saved.mjs').SavedRun} SavedRun */

const DEFAULT_VIEWERS = 8;
const DOCUMENT = join(ROOT, 'docs/benchmarks.md');

/** @returns {never} */
function usage() {
  console.error('usage: node offload.mjs --dir DIR [--full] [--write] [--scenario NAME]… [--plugin NAME]… [--viewers N]');
  console.error(`scenarios: ${Object.keys(SCENARIOS).join(' ')}`);
  console.error(`plugins: ${Object.keys(PLUGINS).join(' ')}`);
  process.exit(2);
}

function readArguments() {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      full: { type: 'boolean', default: false },
      plugin: { type: 'string', multiple: true, default: [] },
      scenario: { type: 'string', multiple: true, default: [] },
      viewers: { type: 'string', default: `${DEFAULT_VIEWERS}` },
      write: { type: 'boolean', default: false },
    },
  });
  const viewers = Number(values.viewers);
  const areKnown = (/** @type {string[]} */ names, /** @type {object} */ known) =>
    names.every((name) => Object.hasOwn(known, name));
  const fits = values.dir && Number.isInteger(viewers) && viewers >= 1;
  if (!fits || !areKnown(values.scenario, SCENARIOS) || !areKnown(values.plugin, PLUGINS)) usage();
  return {
    ...values,
    dir: /** @type {string} */ (values.dir),
    plugins: /** @type {import('./plugins.mjs').PluginName[]} */ (values.plugin),
    scenarios: /** @type {import('./scenarios.mjs').ScenarioName[]} */ (values.scenario),
    viewers,
  };
}

/**
 * @typedef {object} Bench
 * @property {import('./run.mjs').Materials} materials
 * @property {string} content which bytes the streams are
 * @property {SavedRuns} saved
 * @property {number} viewers
 * @property {boolean} resume takes saved runs for those that would be the same
 */

/**
 * The run of an entry with that number: a saved one, or it is made.
 * @param {import('./plan.mjs').Entry} entry
 * @param {number} number from 1
 * @param {Bench} bench
 */
async function runOf(entry, number, { materials, content, saved, viewers, resume }) {
  const [what, how] = [scenario(entry.scenario), plugin(entry.plugin)];
  // The plugin's options stand for themselves; where the servers of a run are does not count.
  const options = how.options({ publisherKey: '', signaling: '', tracker: '' });
  const made = { scenario: what, viewers, content, hls: versionOf('hls.js'), plugin: buildOf(how), options };
  const found = resume ? saved.find(entry, number, made) : undefined;
  const run = found ?? (await oneRun(entry, materials, viewers, made));
  if (!found) saved.save(entry, number, run);
  return run;
}

/**
 * Makes the runs of a plan, all once before any is made again: what is compared is measured near to each other.
 * @param {readonly import('./plan.mjs').Entry[]} plan
 * @param {Bench} bench
 */
async function runsOf(plan, bench) {
  const measured = plan.map((entry) => ({ entry, runs: /** @type {SavedRun[]} */ ([]) }));
  const rounds = Math.max(...plan.map(({ times }) => times));
  for (let number = 1; number <= rounds; number += 1) {
    for (const { entry, runs } of measured) {
      if (number <= entry.times) runs.push(await runOf(entry, number, bench));
    }
  }
  return measured;
}

/**
 * @param {import('./plan.mjs').Entry} entry
 * @param {import('./run.mjs').Materials} materials
 * @param {number} viewers
 * @param {SavedRun['made']} made
 * @returns {Promise<SavedRun>}
 */
async function oneRun(entry, materials, viewers, made) {
  console.error(`${new Date().toISOString().slice(11, 19)}  ${entry.scenario}, ${plugin(entry.plugin).title}`);
  const { chromium, counts, problems } = await measureRun(scenario(entry.scenario), plugin(entry.plugin), materials, viewers);
  const figures = figuresOf(counts);
  const { offload, stalls, stallSeconds } = figures;
  console.error(`          offload ${(offload * 100).toFixed(1)} %, ${stalls} stalls of ${stallSeconds.toFixed(1)} s`);
  const waits = counts.viewers.flatMap(({ diagnosis }) => httpWaits(diagnosis ?? []));
  if (entry.scenario === 'dead-weight' && waits.length > 0) {
    const [middle, longest] = [median(waits) ?? 0, Math.max(...waits)].map((ms) => (ms / 1000).toFixed(2));
    console.error(`          HTTP ${middle} s after a segment's request, ${longest} s at most`);
  }
  return { date: new Date().toISOString(), made, machine: machine(), chromium, figures, counts, problems };
}

/**
 * Where and when the rows were measured, and what.
 * @param {readonly SavedRun[]} runs
 */
function provenance(runs) {
  const days = runs.map(({ date }) => date.slice(0, 10)).sort();
  const all = (/** @type {(run: SavedRun) => unknown} */ of) =>
    [...new Set(runs.map(of))].filter((one) => one !== NO_BUILD).join('; ');
  const versions = [`Chromium ${all(({ chromium }) => chromium)}`, `hls.js ${all(({ made }) => made.hls)}`];
  return [
    `Measured: ${[...new Set([days[0], days[days.length - 1]])].join(' to ')}, ${all(({ made }) => made.viewers)} viewers.`,
    `Machine: ${all((run) => run.machine)}.`,
    `${[...versions, all(({ made }) => made.plugin)].filter(Boolean).join(', ')}.`,
  ].join('\\\n');
}

const { dir, full, plugins, scenarios, viewers, write } = readArguments();
mkdirSync(dir, { recursive: true });
const session = mkdtempSync(join(tmpdir(), 'tabswarm-bench-'));
try {
  const streams = await makeStreams(join(dir, 'content'));
  const page = join(dir, 'page');
  await buildPage(page);
  const materials = { page, streams: await signStreams(streams, session) };
  const bench = { materials, content: contentId(streams), saved: new SavedRuns(join(dir, 'runs')), viewers, resume: full };
  const measured = await runsOf(planOf({ full, scenarios, plugins }), bench);
  const rows = measured.map(({ entry, runs }) => {
    const figures = medianFigures(runs.map(({ counts }) => figuresOf(counts)));
    return { scenario: entry.scenario, plugin: entry.plugin, runs: runs.length, figures };
  });
  const parts = [provenance(measured.flatMap(({ runs }) => runs)), `### What is to be reached\n\n${barsTable(rows)}`, markdownTables(rows)];
  const text = parts.join('\n\n');
  writeFileSync(join(dir, 'table.md'), `${text}\n`);
  console.log(`\n${text}`);
  if (full || write) writeBetweenMarkers(DOCUMENT, text);
} finally {
  rmSync(session, { recursive: true, force: true });
}
