// @ts-check
/** What tabswarm is to reach in each scenario, some of it beside a rival, and whether it does. */

/** @typedef {import('./measure/figures.mjs').Figures} Figures */
/** @typedef {import('./plugins.mjs').PluginName} PluginName */
/** @typedef {import('./scenarios.mjs').ScenarioName} ScenarioName */

/**
 * @typedef {object} Bar
 * @property {string} what
 * @property {PluginName} [plugin] default: tabswarm
 * @property {PluginName} [beside]
 * @property {(ours: Figures) => number | null} of
 * @property {(ours: Figures, rival: Figures) => number | null} limit
 * @property {boolean} [atLeast] the limit is the least; otherwise it is the most
 * @property {(value: number) => string} [shown]
 */

const percent = (/** @type {number} */ share) => `${(share * 100).toFixed(1)} %`;
const seconds = (/** @type {number} */ ms) => `${(ms / 1000).toFixed(2)} s`;
const fixed = (/** @type {number} */ value) => `${Number(value.toFixed(2))}`;
const plus = (/** @type {number | null} */ value, /** @type {number} */ more) => (value === null ? null : value + more);

/** @param {number} points below the ceiling @returns {Bar} */
const offload = (points) => ({
  what: points === 1 ? 'offload, at most a point below the ceiling' : `offload, at most ${points} points below the ceiling`,
  of: (ours) => ours.offload,
  limit: (ours) => ours.ceiling - points / 100,
  atLeast: true,
  shown: percent,
});
/** @type {Bar} */
const stalls = { what: 'stalls', of: (ours) => ours.stalls, limit: () => 0 };
/** @type {Bar} */
const start = {
  what: 'start, at most 150 ms after hls.js',
  beside: 'plain',
  of: (ours) => ours.startMedianMs,
  limit: (_, plain) => plus(plain.startMedianMs, 150),
  shown: seconds,
};
/** @type {Bar} */
const cpu = {
  what: 'CPU of the tabs over that of decoding, no more than the tuned rival’s',
  beside: 'p2pml-tuned',
  of: (ours) => ours.rendererCpuPerDecoding,
  limit: (_, tuned) => tuned.rendererCpuPerDecoding,
};
/** Where the rival's decoders get what is none: that is other work. @type {Bar} */
const cpuPerMinute = {
  what: 'CPU of the tabs a minute of picture seen, no more than the tuned rival’s',
  beside: 'p2pml-tuned',
  of: (ours) => ours.rendererCpuPerMinute,
  limit: (_, tuned) => tuned.rendererCpuPerMinute,
};
/** @type {Bar} */
const latency = {
  what: 'latency, at most 1 s more than hls.js',
  beside: 'plain',
  of: (ours) => ours.liveLatencySeconds,
  limit: (_, plain) => plus(plain.liveLatencySeconds, 1),
};
/** @param {number} least @returns {Bar[]} */
const economy = (least) => [
  { what: 'economy: offload', plugin: 'tabswarm-economy', of: (ours) => ours.offload, limit: () => least, atLeast: true, shown: percent },
  {
    what: 'economy: start, no later than the tuned rival',
    plugin: 'tabswarm-economy',
    beside: 'p2pml-tuned',
    of: (ours) => ours.startMedianMs,
    limit: (_, tuned) => tuned.startMedianMs,
    shown: seconds,
  },
];

/** @type {Readonly<Record<ScenarioName, readonly Bar[]>>} */
const BARS = {
  spaced: [offload(1), stalls, start, cpu, ...economy(0.87)],
  together: [offload(3), stalls, start, cpu, ...economy(0.85)],
  live: [offload(3), stalls, start, latency, cpu],
  'capped-2x': [
    stalls,
    { what: 'the last one starts', of: (ours) => ours.startMaxMs, limit: () => 6000, shown: seconds },
    cpu,
  ],
  'capped-1.25x': [{ what: 'stalls of one viewer', of: (ours) => ours.stallsMax, limit: () => 1 }, cpu],
  leaving: [offload(8), stalls, cpu],
  'live-leaving': [offload(8), stalls, cpu],
  abr: [
    offload(5),
    {
      what: 'level switches, at most one more than hls.js',
      beside: 'plain',
      of: (ours) => ours.switches,
      limit: (_, plain) => plain.switches + 1,
    },
    cpu,
  ],
  corrupt: [{ what: 'wrong segments', of: (ours) => ours.wrong, limit: () => 0 }, stalls, cpuPerMinute],
  'dead-weight': [
    { what: 'stalls, no more than hls.js', beside: 'plain', of: (ours) => ours.stalls, limit: (_, plain) => plain.stalls },
    { what: 'waste', of: (ours) => ours.waste, limit: () => 0.05, shown: percent },
    cpu,
  ],
};

/**
 * Every bar that these rows say something of.
 * @param {readonly import('./table.mjs').Row[]} rows
 * @returns {{ scenario: ScenarioName, what: string, measured: string, limit: string, met: boolean }[]}
 */
export function barsOf(rows) {
  const find = (/** @type {ScenarioName} */ scenario, /** @type {PluginName} */ plugin) =>
    rows.find((row) => row.scenario === scenario && row.plugin === plugin)?.figures;
  const scenarios = /** @type {ScenarioName[]} */ (Object.keys(BARS));
  return scenarios.flatMap((scenario) =>
    BARS[scenario].flatMap(({ what, plugin = 'tabswarm', beside, of, limit, atLeast = false, shown = fixed }) => {
      const ours = find(scenario, plugin);
      const rival = find(scenario, beside ?? plugin);
      const [value, bound] = ours && rival ? [of(ours), limit(ours, rival)] : [null, null];
      if (value === null || bound === null) return [];
      const met = atLeast ? value >= bound : value <= bound;
      return [{ scenario, what, measured: shown(value), limit: `${atLeast ? '≥' : '≤'} ${shown(bound)}`, met }];
    }),
  );
}

/** @param {readonly import('./table.mjs').Row[]} rows */
export function barsTable(rows) {
  const lines = barsOf(rows).map(
    ({ scenario, what, measured, limit, met }) => `| \`${scenario}\` | ${what} | ${measured} | ${limit} | ${met ? 'yes' : '**no**'} |`,
  );
  return ['| scenario | what | measured | bar | met |', '|---|---|---|---|---|', ...lines].join('\n');
}
