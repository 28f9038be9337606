// @ts-check
/** The demo as the dev service serves it, and the commands that the README promises. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { binary, NPM_DIST, ROOT } from './harness/paths.mjs';
import { publish } from './harness/publish.mjs';
import { Service } from './harness/service.mjs';
import { copySample, temporaryDir } from './harness/streams.mjs';
import { formatSummary, runViewers } from './harness/viewers.mjs';

const run = promisify(execFile);

test('viewers of the demo play the sample to its end and get most of it from each other', async (t) => {
  const dir = temporaryDir(t);
  const sample = join(dir, 'sample');
  copySample(sample);
  const key = await publish(sample, 'signed', { stream: '/sample/master.m3u8', keyFile: join(dir, 'key') });
  const service = await Service.start([
    ...['dev', '--state-dir', join(dir, 'state'), '--sample-dir', sample, '--publisher-key', key ?? ''],
    ...['--demo-dir', join(ROOT, 'web-demo/dist'), '--npm-dir', NPM_DIST],
  ]);
  t.after(() => service.kill());
  const summary = await runViewers({ url: service.url, viewers: 4, joinIntervalMs: 2_000 });
  t.diagnostic(formatSummary(summary));
  assert.equal(summary.wrong, 0);
  assert.ok(summary.complete, formatSummary(summary));
  assert.ok(summary.offloadReached, formatSummary(summary));
});

/** The fenced shell commands of the README, one a line. */
function readmeCommands() {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^```(?:sh|bash|console|shell)\n(.*?)^```/gms)].map(([, body]) => body);
  return blocks
    .flatMap((body) => body.split('\n'))
    .map((line) => line.replace(/^\$ /, '').replace(/\s+#.*$/, '').trim())
    .filter((line) => line && !line.startsWith('#'));
}

test('the commands of the README exist', async (t) => {
  const commands = readmeCommands();
  assert.ok(commands.some((command) => command.startsWith('cargo xtask demo')), 'the README shows the demo');
  const { stdout: help } = await run('cargo', ['xtask', '--help'], { cwd: ROOT });
  for (const command of commands) {
    const words = command.split(/\s+/);
    t.diagnostic(command);
    await check(words, help);
  }
});

/** @param {string[]} words */
const flagsOf = (words) => words.filter((word) => word.startsWith('--')).map((flag) => flag.split('=')[0]);

/**
 * Runs what a command names as far as it goes without doing the work twice.
 * @param {string[]} words
 * @param {string} xtaskHelp
 */
async function check(words, xtaskHelp) {
  const command = words.join(' ');
  if (words[0] === 'cargo' && words[1] === 'xtask') {
    assert.match(xtaskHelp, new RegExp(`^\\s*${words[2]}\\b`, 'm'), command);
    const { stdout } = await run('cargo', ['xtask', words[2], '--help'], { cwd: ROOT });
    for (const flag of flagsOf(words)) assert.ok(stdout.includes(flag), command);
    return;
  }
  if (words[0] === 'npm' && /^(i|install)$/.test(words[1])) {
    const { name } = JSON.parse(readFileSync(join(ROOT, 'wasm-peer/npm/package.json'), 'utf8'));
    for (const wanted of words.slice(2).filter((word) => !word.startsWith('-'))) {
      assert.ok(wanted === name || wanted === 'hls.js', command);
    }
    return;
  }
  if (words[0] === 'git' && words[1] === 'clone') return;
  if (words[0] === 'cd') return;
  if (/^tabswarm(-signaling)?$/.test(words[0])) {
    const { stdout } = await run(binary(words[0]), [words[1], '--help']);
    for (const flag of flagsOf(words)) assert.ok(stdout.includes(flag), command);
    return;
  }
  assert.fail(`the README shows a command that no test knows: ${command}`);
}
