// @ts-check
/** Which runs are made. */

import { SCENARIOS } from './scenarios.mjs';

/** @typedef {import('./plugins.mjs').PluginName} PluginName */
/** @typedef {import('./scenarios.mjs').ScenarioName} ScenarioName */

/**
 * @typedef {object} Entry
 * @property {ScenarioName} scenario
 * @property {PluginName} plugin
 * @property {number} times
 */

/** How often the full plan makes a run. */
const TIMES = 3;
/** What is no yardstick: a rival that others do better with. */
const ONCE = 'p2pml';
/** @type {readonly PluginName[]} */
const MAIN = ['plain', 'p2pml', 'p2pml-tuned', 'tabswarm'];
/** @type {readonly PluginName[]} */
const SHARING = MAIN.filter((name) => name !== 'plain');
/** @type {readonly PluginName[]} */
const VARIANTS = ['tabswarm-economy', 'tabswarm-attested'];

/** @type {Readonly<Record<ScenarioName, readonly PluginName[]>>} */
const FULL = {
  spaced: [...MAIN, ...VARIANTS],
  together: [...MAIN, ...VARIANTS],
  live: MAIN,
  'capped-2x': MAIN,
  'capped-1.25x': MAIN,
  leaving: MAIN,
  'live-leaving': MAIN,
  abr: MAIN,
  // Alone hls.js has nothing to do with other viewers.
  corrupt: SHARING,
  'dead-weight': MAIN,
};

/** What fits in 12 minutes. @type {Partial<Record<ScenarioName, readonly PluginName[]>>} */
const QUICK = {
  spaced: ['plain', 'tabswarm'],
  together: ['tabswarm'],
  live: ['tabswarm'],
  'capped-2x': ['plain', 'tabswarm'],
  corrupt: ['tabswarm'],
};

/** @param {Partial<Record<ScenarioName, readonly PluginName[]>>} table @param {(plugin: PluginName) => number} times */
function entries(table, times) {
  const rows = /** @type {[ScenarioName, readonly PluginName[]][]} */ (Object.entries(table));
  return rows.flatMap(([scenario, plugins]) => plugins.map((plugin) => ({ scenario, plugin, times: times(plugin) })));
}

/** How often the full plan runs a plugin. @param {PluginName} name */
const fullTimes = (name) => (name === ONCE ? 1 : TIMES);

/**
 * The runs to make. What is chosen by name is run even where no plan has it.
 * @param {{ full: boolean, scenarios: readonly ScenarioName[], plugins: readonly PluginName[] }} wishes
 * @returns {Entry[]}
 */
export function planOf({ full, scenarios, plugins }) {
  const isWanted = (/** @type {Entry} */ { scenario, plugin }) =>
    (scenarios.length === 0 || scenarios.includes(scenario)) && (plugins.length === 0 || plugins.includes(plugin));
  if (full) return entries(FULL, fullTimes).filter(isWanted);
  if (scenarios.length === 0 && plugins.length === 0) return entries(QUICK, () => 1);
  const names = scenarios.length > 0 ? scenarios : /** @type {ScenarioName[]} */ (Object.keys(SCENARIOS));
  return entries(
    Object.fromEntries(names.map((name) => [name, plugins.length > 0 ? plugins : FULL[name]])),
    () => 1,
  );
}
