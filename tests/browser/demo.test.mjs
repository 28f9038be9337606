// @ts-check
/** The commands that the README promises, and the demo as the dev service serves it in every mode. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import { NPM_DIST, ROOT } from './harness/paths.mjs';
import { publish } from './harness/publish.mjs';
import { Service } from './harness/service.mjs';
import { shortSample, temporaryDir } from './harness/streams.mjs';
import { until } from './harness/wait.mjs';

/** @typedef {import('node:test').TestContext} TestContext */

const run = promisify(execFile);

/** First line of the viewers' table. */
const TABLE = /^viewer +ended +start ms +stalls .*origin KB +peers KB/m;
/** Seconds of the sample that viewers of the two other modes play. */
const SHORT_SECONDS = 20;

/**
 * A command's output. When it fails the error shows all of it.
 * @param {string} program
 * @param {string[]} args
 */
async function outputOf(program, args) {
  try {
    return (await run(program, args, { cwd: ROOT })).stdout;
  } catch (error) {
    const { message, stdout, stderr } = /** @type {any} */ (error);
    assert.fail(`${message}\n${stdout}\n${stderr}`);
  }
}

/**
 * What the table of a run says, checked as far as it is the same in every mode.
 * @param {string} output
 * @param {number} viewers
 */
function readTable(output, viewers) {
  assert.match(output, TABLE);
  assert.equal(output.match(/^ +v\d+ +yes /gm)?.length, viewers, output);
  assert.match(output, /^segments different from the origin's: 0 of [1-9]/m);
  assert.match(output, /^offload at least [\d.]+ %: yes$/m);
  const fetches = /^service's own fetches +(\d+) KB$/m.exec(output)?.[1];
  assert.ok(fetches, output);
  return { ownFetches: Number(fetches) };
}

/** The fenced shell commands of the README, one a line. */
function readmeCommands() {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const blocks = [...readme.matchAll(/^```(?:sh|bash|console|shell)\n(.*?)^```/gms)].map(([, body]) => body);
  return blocks
    .flatMap((body) => body.split('\n'))
    .map((line) => line.replace(/^\$ /, '').replace(/\s+#.*$/, '').trim())
    .filter((line) => line && !line.startsWith('#'));
}

/**
 * `cargo xtask demo`: serves the page until Ctrl-C.
 * @param {TestContext} t
 * @param {string[]} args
 */
async function servesThePage(t, args) {
  // In a process group of its own: Ctrl-C reaches everything that was started.
  const demo = spawn('cargo', args, { cwd: ROOT, detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(demo, 'close');
  t.after(() => demo.exitCode ?? demo.signalCode ?? process.kill(-Number(demo.pid), 'SIGKILL'));
  let output = '';
  demo.stdout.setEncoding('utf8').on('data', (text) => (output += text));
  const served = async () => {
    assert.equal(demo.exitCode, null, output);
    return /^ +(http:\S+)$[^]*Ctrl-C/m.exec(output)?.[1];
  };
  const url = await until('the demo prints its address', served, { limitMs: 300_000, dump: () => output });
  const page = await fetch(url);
  assert.equal(page.status, 200);
  assert.match(await page.text(), /<video/);
  assert.equal((await fetch(new URL('/sample/master.m3u8', url))).status, 200);
  process.kill(-Number(demo.pid), 'SIGINT');
  await ended;
  await until('the service is gone', () => fetch(url).then(() => false, () => true));
}

/**
 * Runs a command of the README: as it is there, but on any free port.
 * @param {TestContext} t
 * @param {string} command
 */
async function check(t, command) {
  const [program, ...args] = command.split(/\s+/);
  if (command.startsWith('cargo xtask demo --viewers ')) {
    const output = await outputOf(program, [...args, '--port', '0']);
    t.diagnostic(output.slice(output.search(TABLE)));
    assert.equal(readTable(output, Number(args.at(-1))).ownFetches, 0);
  } else if (command === 'cargo xtask demo') {
    await servesThePage(t, [...args, '--port', '0']);
  } else if (command === 'cargo xtask test') {
    // This test is part of it.
    assert.match(await outputOf(program, [...args, '--help']), /every test/);
  } else if (program === 'npm') {
    const { name } = JSON.parse(readFileSync(join(ROOT, 'wasm-peer/npm/package.json'), 'utf8'));
    assert.deepEqual(args, ['i', name], 'it gets this package');
  } else {
    assert.fail(`the README shows a command that no test knows: ${command}`);
  }
}

test('the README shows the demo, with and without viewers', () => {
  const demos = readmeCommands().filter((command) => command.startsWith('cargo xtask demo'));
  assert.deepEqual(demos, ['cargo xtask demo', 'cargo xtask demo --viewers 4']);
});

for (const command of readmeCommands()) {
  test(`\`${command}\` of the README works`, (t) => check(t, command));
}

/**
 * Runs viewers as `cargo xtask demo --mode` does, on a shorter sample.
 * @param {TestContext} t
 * @param {'attested' | 'origin'} mode
 */
async function viewersIn(t, mode) {
  const dir = temporaryDir(t);
  const sample = join(dir, 'sample');
  shortSample(sample, SHORT_SECONDS);
  if (mode === 'origin') await publish(sample, mode, { stream: '/sample/master.m3u8', keyFile: join(dir, 'key') });
  const service = await Service.start([
    ...['dev', '--mode', mode, '--state-dir', join(dir, 'state'), '--sample-dir', sample],
    ...['--demo-dir', join(ROOT, 'web-demo/dist'), '--npm-dir', NPM_DIST],
  ]);
  t.after(() => service.kill());
  const script = join(ROOT, 'tests/browser/viewers.mjs');
  const output = await outputOf(process.execPath, [script, '--url', service.url, '--mode', mode, '--viewers', '2']);
  t.diagnostic(output);
  return readTable(output, 2);
}

describe('viewers of the demo play to the end and share', { concurrency: true }, () => {
  test('in origin mode', async (t) => {
    assert.equal((await viewersIn(t, 'origin')).ownFetches, 0);
  });

  test('in attested mode, each segment fetched by the service too', async (t) => {
    assert.ok((await viewersIn(t, 'attested')).ownFetches > 0);
  });
});
