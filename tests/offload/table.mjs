// @ts-check
/** The figures as tables: on the terminal, and in docs/benchmarks.md. */

import { readFileSync, writeFileSync } from 'node:fs';
import { plugin } from './plugins.mjs';
import { scenario } from './scenarios.mjs';

/** @typedef {import('./measure/figures.mjs').Figures} Figures */

/**
 * What a plan came to for one scenario and plugin.
 * @typedef {object} Row
 * @property {import('./scenarios.mjs').ScenarioName} scenario
 * @property {import('./plugins.mjs').PluginName} plugin
 * @property {number} runs
 * @property {Figures} figures medians over the runs
 */

/** @typedef {[string, (figures: Figures, row: Row) => string]} Column */

const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`;
const fixed = (/** @type {number | null} */ value, digits = 1) => value?.toFixed(digits) ?? '–';
const seconds = (/** @type {number | null} */ ms) => fixed(ms === null ? null : ms / 1000, 2);
const megabytes = (/** @type {number | null} */ bytes) => fixed(bytes === null ? null : bytes / 1e6);
const kilobytes = (/** @type {number} */ bytes) => fixed(bytes / 1000, 0);

/** @type {readonly Column[]} */
const COLUMNS = [
  ['plugin', (_, row) => plugin(row.plugin).title],
  ['runs', (_, { runs }) => `${runs}`],
  ['offload', ({ offload }) => percent(offload)],
  ['ceiling', ({ ceiling }) => percent(ceiling)],
  ['peak Mbit/s', ({ originPeakBytesPerSecond }) => fixed((originPeakBytesPerSecond * 8) / 1e6)],
  ['start p50 / max s', ({ startMedianMs, startMaxMs }) => `${seconds(startMedianMs)} / ${seconds(startMaxMs)}`],
  ['stalls / of one', ({ stalls, stallsMax }) => `${fixed(stalls, 0)} / ${fixed(stallsMax, 0)}`],
  ['stalled s', ({ stallSeconds }) => fixed(stallSeconds)],
  ['hitched s', ({ hitchSeconds }) => fixed(hitchSeconds)],
  ['skipped s', ({ skippedSeconds }) => fixed(skippedSeconds)],
  ['latency s', ({ liveLatencySeconds }) => fixed(liveLatencySeconds)],
  ['waste', ({ waste }) => percent(waste)],
  ['CPU s/min tabs / all', (figures) => `${fixed(figures.rendererCpuPerMinute)} / ${fixed(figures.browserCpuPerMinute)}`],
  ['CPU tabs / decoding', ({ rendererCpuPerDecoding }) => fixed(rendererCpuPerDecoding, 2)],
  ['upload MB p50 / max', ({ uploadMedianBytes, uploadMaxBytes }) => `${megabytes(uploadMedianBytes)} / ${megabytes(uploadMaxBytes)}`],
  [
    'overhead KB HTTP / peers / sockets',
    (figures) => [figures.httpOverheadBytes, figures.peerOverheadBytes, figures.socketBytes].map(kilobytes).join(' / '),
  ],
  ['service MB', ({ serviceBytes }) => megabytes(serviceBytes)],
  ['best level', ({ topLevelShare }) => percent(topLevelShare)],
  ['switches', ({ switches }) => fixed(switches, 0)],
  ['wrong', ({ wrong }) => fixed(wrong, 0)],
  ['saw the end', ({ ended, stayed }) => `${fixed(ended, 0)} of ${fixed(stayed, 0)}`],
  ['other load', ({ otherCores }) => fixed(otherCores, 2)],
];

/** Columns that say something only where they differ from this. @type {Readonly<Record<string, RegExp>>} */
const OPTIONAL = {
  'CPU tabs / decoding': /^–$/,
  'best level': /^100\.0 %$/,
  'hitched s': /^0\.0$/,
  'latency s': /^–$/,
  'skipped s': /^0\.0$/,
  'service MB': /^0\.0$/,
  switches: /^0$/,
  wrong: /^0$/,
};

/**
 * One scenario's rows as a Markdown table, without the columns that say nothing.
 * @param {readonly Row[]} rows
 */
export function markdownTable(rows) {
  const cells = rows.map((row) => COLUMNS.map(([, cell]) => cell(row.figures, row)));
  const kept = COLUMNS.map(([name], column) => !cells.every((line) => OPTIONAL[name]?.test(line[column])));
  const table = [COLUMNS.map(([name]) => name), ...cells].map((line) => line.filter((_, column) => kept[column]));
  const widths = table[0].map((_, column) => Math.max(...table.map((line) => line[column].length)));
  const lines = table.map((line) => `| ${line.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`);
  return [lines[0], `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...lines.slice(1)].join('\n');
}

/**
 * All scenarios' tables under their headings.
 * @param {readonly Row[]} rows
 */
export function markdownTables(rows) {
  const names = [...new Set(rows.map((row) => row.scenario))];
  const sections = names.map((name) => {
    const table = markdownTable(rows.filter((row) => row.scenario === name));
    return `### \`${name}\`: ${scenario(name).about}\n\n${table}`;
  });
  return sections.join('\n\n');
}

const BEGIN = '<!-- offload: written by `cargo xtask bench offload --full` -->';
const END = '<!-- offload: end -->';

/**
 * Puts text between the markers.
 * @param {string} document
 * @param {string} text
 */
export function replaceBetweenMarkers(document, text) {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error('the document has no markers');
  return `${document.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${document.slice(end)}`;
}

/** @param {string} file @param {string} text */
export function writeBetweenMarkers(file, text) {
  writeFileSync(file, replaceBetweenMarkers(readFileSync(file, 'utf8'), text));
}
