import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Tabswarm } from '../src/index.js';
import { Origin, pattern, pretendBrowser, until } from './environment.js';

const SERVICE = { signaling: 'ws://127.0.0.1:9/swarm' };

let origin: Origin;
beforeEach(async () => {
  pretendBrowser();
  origin = await Origin.start();
  origin.serve('/film/seg.ts', pattern(1000));
});
afterEach(() => origin.close());

async function playsOverHttp(swarm: Tabswarm, code: string): Promise<void> {
  const codes: string[] = [];
  swarm.addEventListener('error', ({ detail }) => codes.push(detail.error.code));
  await until('it does without', () => swarm.stats().mode === 'http');
  expect(swarm.stats()).toMatchObject({ mode: 'http', peerId: null, signaling: 'off', peers: [], wasmMemoryBytes: 0 });
  await swarm.open(origin.url('/film/master.m3u8'));
  const response = await swarm.fetch(origin.url('/film/seg.ts'));
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(pattern(1000));
  await until('the reason was told', () => codes.length > 0);
  expect(codes).toEqual([code]);
  swarm.enable();
  swarm.disable();
  swarm.destroy();
}

describe('create() gives an instance that fetches over HTTP', () => {
  for (const missing of ['WebAssembly', 'RTCPeerConnection', 'WebSocket'] as const) {
    test(`without ${missing}`, async () => {
      const scope = globalThis as Record<string, unknown>;
      const there = scope[missing];
      let swarm: Tabswarm;
      try {
        delete scope[missing];
        expect(Tabswarm.isSupported()).toBe(false);
        swarm = await Tabswarm.create(SERVICE);
      } finally {
        // Node's own fetch is wasm.
        scope[missing] = there;
      }
      expect(Tabswarm.isSupported()).toBe(true);
      await playsOverHttp(swarm, 'unsupported');
    });
  }

  test('where the module is not there', async () => {
    await playsOverHttp(await Tabswarm.create({ ...SERVICE, wasmUrl: origin.url('/none.wasm') }), 'module-unavailable');
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ['there is no answer for it', () => undefined],
    ['it does not come to its end', (response) => response.writeHead(200, { 'content-type': 'application/wasm' }).write('\0asm')],
  ])('where the module is late: %s', async (_what, answer) => {
    let gone = false;
    origin.answer('/silent.wasm', (request, response) => {
      request.on('close', () => (gone = true));
      answer(response);
    });
    await playsOverHttp(await Tabswarm.create({ ...SERVICE, wasmUrl: origin.url('/silent.wasm') }), 'module-unavailable');
    await until('the request was given up', () => gone);
  });

  test('where the module is none', async () => {
    origin.serve('/bad.wasm', pattern(1000));
    await playsOverHttp(await Tabswarm.create({ ...SERVICE, wasmUrl: origin.url('/bad.wasm') }), 'module-unavailable');
  });
});

test('create() rejects options that can not be right', async () => {
  await expect(Tabswarm.create({ signaling: 'nowhere' })).rejects.toMatchObject({ code: 'invalid-option' });
});

test('an instance made without create() is refused', () => {
  const Constructor = Tabswarm as unknown as new () => Tabswarm;
  expect(() => new Constructor().stats()).toThrow(expect.objectContaining({ code: 'destroyed' }));
});

// The last test: the module stays for all that follow.
test('a create() after one without the module may find it', async () => {
  const options = { ...SERVICE, consent: 'manual' } as const;
  const without = await Tabswarm.create({ ...options, wasmUrl: origin.url('/none.wasm') });
  await until('it does without', () => without.stats().mode === 'http');
  const later = await Tabswarm.create({ ...options, wasmUrl: origin.url('/tabswarm_bg.wasm') });
  expect(later.stats().mode).toBe('off');
  await later.open(origin.url('/film/master.m3u8'));
  await later.fetch(origin.url('/film/seg.ts'));
  expect(later.stats().segments).toBe(1);
  later.destroy();
});
