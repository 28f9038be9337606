// @ts-check
/** One hostile tab of four alters the groups it sends, or sends none: the others throw it out and play on. */

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser } from './harness/browser.mjs';
import { buffering, Stage } from './harness/stage.mjs';
import { timeline } from './harness/tab.mjs';

/** @type {import('playwright-core').Browser} */
let browser;
before(async () => (browser = await launchBrowser()));
after(() => browser.close());

const WAYS = [
  ['flips a bit', 'flip'],
  ['truncates groups', 'truncate'],
  ['extends groups', 'extend'],
  ['swaps groups', 'swap'],
  ['replays another segment under the right name', 'replay'],
];
const VICTIMS = ['v1', 'v2', 'v3'];

/** Seconds that a victim plays at least. */
const PLAYED_ON = 10;

/** @param {any} report */
const bansOf = ({ events }) => events.filter((/** @type {any} */ { type }) => type === 'peer-banned');

/**
 * A tab that has all of the stream and alters what it gives.
 * @param {Stage} stage
 * @param {string} mode
 */
async function openPolluter(stage, mode) {
  const hostile = await stage.open('hostile', { scripts: ['polluter.js'] });
  await hostile.page.evaluate(
    async ({ way, other }) => {
      const body = await (await fetch(other)).arrayBuffer();
      Object.assign(/** @type {any} */ (globalThis).polluter, { mode: way, other: new Uint8Array(body) });
    },
    { way: mode, other: `${stage.origin.url()}/media/low/segment-00.m4s` },
  );
  // Alone with the stream, it is the one holder that the others find.
  await hostile.start({ src: stage.src('hostile'), swarm: stage.swarm, level: 1, hls: buffering(60) });
  const { stats } = await hostile.until('loaded the stream', ({ fragments }) => fragments.length >= 30);
  return { hostile, peerId: stats.peerId };
}

/**
 * The others play until each has banned it; what they report then.
 * @param {Stage} stage
 */
async function playUntilBanned(stage) {
  const victims = await Promise.all(VICTIMS.map((name) => stage.play(name, { hls: buffering(12) })));
  return Promise.all(
    victims.map((victim) =>
      victim.until('banned it and played on', (report) => bansOf(report).length > 0 && report.position > PLAYED_ON),
    ),
  );
}

/**
 * Nothing wrong was delivered, nobody stalled, and nobody but the hostile tab was banned; when it was.
 * @param {Stage} stage @param {any} report @param {string} peerId @param {string} who
 */
function assertUnharmed(stage, report, peerId, who) {
  assert.deepEqual(stage.wrong(report), [], who);
  assert.deepEqual(report.stalls, [], `${who}${timeline(report)}`);
  const bans = bansOf(report);
  assert.deepEqual(bans.map((/** @type {any} */ { detail }) => detail.peer), [peerId], who);
  const { peers } = report.stats;
  assert.ok(!peers.some((/** @type {any} */ { id, state }) => id === peerId && state === 'open'), who);
  return bans[0];
}

for (const [claim, mode] of WAYS) {
  test(`a tab that ${claim} is banned after one bad group and nothing wrong is delivered`, async (t) => {
    const stage = await Stage.open(t, browser, 'signed');
    const { hostile, peerId } = await openPolluter(stage, mode);
    const reports = await playUntilBanned(stage);

    const { altered } = await hostile.page.evaluate(() => /** @type {any} */ (globalThis).polluter);
    assert.ok(altered >= VICTIMS.length, `altered ${altered} groups`);
    for (const [at, report] of reports.entries()) {
      const who = VICTIMS[at];
      const ban = assertUnharmed(stage, report, peerId, who);
      assert.ok(report.stats.badGroups <= 1, `${who} took ${report.stats.badGroups} bad groups`);
      const givers = report.events
        .filter((/** @type {any} */ { type, atMs }) => type === 'segment-loaded' && atMs > ban.atMs + 2_000)
        .flatMap((/** @type {any} */ { detail }) => detail.peers);
      assert.ok(!givers.includes(peerId), `${who} went on taking from it`);
    }
  });
}

test('a tab that says it holds the stream and never gives is banned, and nobody waits for it', async (t) => {
  const stage = await Stage.open(t, browser, 'signed');
  const { hostile, peerId } = await openPolluter(stage, 'silence');
  for (const [at, report] of (await playUntilBanned(stage)).entries()) {
    const ban = assertUnharmed(stage, report, peerId, VICTIMS[at]);
    assert.equal(ban.detail.reason, 'never-gives', VICTIMS[at]);
  }
  const { altered } = await hostile.page.evaluate(() => /** @type {any} */ (globalThis).polluter);
  assert.ok(altered >= VICTIMS.length, `swallowed ${altered} groups`);
});
