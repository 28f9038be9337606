// @ts-check
/** The plugins, and the options each is given. hls.js is the same for all, without options of its own. */

/**
 * @typedef {object} Surroundings where a run's servers are
 * @property {string} signaling tabswarm's service, of a run that has it
 * @property {string} tracker the WebTorrent tracker, of a run that has it
 * @property {string} publisherKey
 */

/**
 * @typedef {object} Plugin
 * @property {string} title
 * @property {'p2pml' | 'plain' | 'tabswarm'} page its script in page/plugins/
 * @property {'service' | 'tracker'} [server]
 * @property {boolean} [attested] the service attests the origin's segments
 * @property {(around: Surroundings) => Record<string, unknown>} options
 */

/**
 * What p2p-media-loader is told because its defaults are on the internet, where the bench is not.
 * @param {Surroundings} around
 */
const nearby = ({ tracker }) => ({ announceTrackers: [tracker], rtcConfig: { iceServers: [] } });

/**
 * p2p-media-loader with what its documentation has for a better share of peers: HTTP at once only for what is needed soon, a
 * wait for the first peers, and fewer segments ahead. Chosen among those in docs/benchmarks.md.
 */
const TUNED = {
  highDemandTimeWindow: 4,
  httpDownloadInitialTimeoutMs: 1500,
  httpDownloadTimeWindow: 20,
  p2pDownloadTimeWindow: 40,
  simultaneousP2PDownloads: 6,
};

/** @satisfies {Record<string, Plugin>} */
export const PLUGINS = {
  plain: { title: 'hls.js', page: 'plain', options: () => ({}) },
  p2pml: { title: 'p2p-media-loader', page: 'p2pml', server: 'tracker', options: nearby },
  'p2pml-tuned': {
    title: 'p2p-media-loader, tuned',
    page: 'p2pml',
    server: 'tracker',
    options: (around) => ({ ...nearby(around), ...TUNED }),
  },
  tabswarm: {
    title: 'tabswarm',
    page: 'tabswarm',
    server: 'service',
    options: ({ signaling, publisherKey }) => ({ signaling, publisherKey }),
  },
  'tabswarm-economy': {
    title: 'tabswarm, economy',
    page: 'tabswarm',
    server: 'service',
    options: ({ signaling, publisherKey }) => ({ signaling, publisherKey, start: 'economy' }),
  },
  'tabswarm-attested': {
    title: 'tabswarm, attested',
    page: 'tabswarm',
    server: 'service',
    attested: true,
    options: ({ signaling }) => ({ signaling }),
  },
};

/** @typedef {keyof typeof PLUGINS} PluginName */

/** @param {PluginName} name @returns {Plugin} */
export const plugin = (name) => PLUGINS[name];
