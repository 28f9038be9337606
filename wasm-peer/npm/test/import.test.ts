import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));

// Where there is no window, as in a server that renders pages; a getter tells of any look at what only browsers have.
const SCRIPT = `
  for (const name of ['window', 'document', 'location', 'WebAssembly', 'RTCPeerConnection', 'WebSocket']) {
    Object.defineProperty(globalThis, name, { configurable: true, get() { throw new Error('looked at ' + name); } });
  }
  const main = await import(process.argv[1] + 'index.js');
  const hls = await import(process.argv[1] + 'hls.js');
  console.log(Object.keys(main).sort().join(), Object.keys(hls).sort().join());
`;

describe.skipIf(!existsSync(`${dist}index.js`))('the built package', () => {
  test('is imported without a browser', () => {
    const output = execFileSync(process.execPath, ['--input-type=module', '--eval', SCRIPT, dist], { encoding: 'utf8' });
    expect(output.trim()).toBe('Tabswarm,TabswarmError Tabswarm,TabswarmError,attach');
  });
});

test('the sources are imported without a browser', async () => {
  expect(Object.keys(await import('../src/hls.js')).sort()).toEqual(['Tabswarm', 'TabswarmError', 'attach']);
});
