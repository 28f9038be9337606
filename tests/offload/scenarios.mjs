// @ts-check
/** What happens to the viewers and the origin, whatever the plugin. */

/** @typedef {'corrupt' | 'drip' | 'silent'} Misdeed what a tab does to what it sends: page/hostile.js */

/**
 * @typedef {object} Scenario
 * @property {string} about
 * @property {import('./content/streams.mjs').StreamName} stream
 * @property {number} joinIntervalMs
 * @property {number} [viewers] if not as many as the others have
 * @property {number} [capacity] what the origin can send, in bit rates of the stream; default: anything
 * @property {number} [leaves] every so many-th viewer leaves midway
 * @property {Readonly<Record<number, Misdeed>>} [hostile] by the viewer's number, from 1; these are not counted as viewers
 */

const SPACED_MS = 1000;

/** How long the origin takes to begin an answer: that of a CDN nearby. */
export const ORIGIN_DELAY_MS = 20;

/** @satisfies {Record<string, Scenario>} */
export const SCENARIOS = {
  spaced: { about: '60 s on demand, viewers join 1 s apart', stream: 'vod', joinIntervalMs: SPACED_MS },
  together: { about: '60 s on demand, all viewers join at once', stream: 'vod', joinIntervalMs: 0 },
  live: { about: 'a live playlist of 8 segments, viewers join 1 s apart', stream: 'live', joinIntervalMs: SPACED_MS },
  'capped-2x': { about: 'all at once, the origin sends twice the bit rate in all', stream: 'vod', joinIntervalMs: 0, capacity: 2 },
  'capped-1.25x': {
    about: 'all at once, the origin sends 1.25 times the bit rate in all',
    stream: 'vod',
    joinIntervalMs: 0,
    capacity: 1.25,
  },
  leaving: { about: 'on demand, every third viewer leaves midway', stream: 'vod', joinIntervalMs: SPACED_MS, leaves: 3 },
  'live-leaving': { about: 'live, every third viewer leaves midway', stream: 'live', joinIntervalMs: SPACED_MS, leaves: 3 },
  abr: { about: 'two levels of 0.8 and 2 Mbit/s, the player chooses', stream: 'abr', joinIntervalMs: SPACED_MS },
  corrupt: {
    about: 'six viewers, the first alters what it sends',
    stream: 'vod',
    joinIntervalMs: SPACED_MS,
    viewers: 6,
    hostile: { 1: 'corrupt' },
  },
  'dead-weight': {
    about: 'the first and fourth viewer send no segment bytes, the second and fifth 1 KB/s',
    stream: 'vod',
    joinIntervalMs: SPACED_MS,
    hostile: { 1: 'silent', 2: 'drip', 4: 'silent', 5: 'drip' },
  },
};

/** @typedef {keyof typeof SCENARIOS} ScenarioName */

/** @param {ScenarioName} name @returns {Scenario} */
export const scenario = (name) => SCENARIOS[name];
