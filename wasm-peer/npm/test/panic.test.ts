import { afterAll, beforeAll, expect, test } from 'vitest';
import { Tabswarm, type StateDetail, type TabswarmError } from '../src/index.js';
import { loadModule } from '../src/module.js';
import { Origin, pattern, pretendBrowser, until } from './environment.js';

let origin: Origin;
beforeAll(async () => {
  pretendBrowser();
  origin = await Origin.start();
});
afterAll(() => origin.close());

test('a module that traps leaves everything to plain HTTP, what was on its way too', async () => {
  const options = { signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl: origin.url('/tabswarm_bg.wasm') } as const;
  const swarm = await Tabswarm.create(options);
  const errors: TabswarmError[] = [];
  const states: StateDetail[] = [];
  swarm.addEventListener('error', ({ detail }) => errors.push(detail.error));
  swarm.addEventListener('state', ({ detail }) => states.push(detail));
  await swarm.open(origin.url('/film/master.m3u8'));

  const segment = pattern(50_000);
  let asked = 0;
  // The first request gets no answer: who asked for it is lost.
  origin.answer('/film/slow.ts', (_request, response) => {
    asked += 1;
    if (asked > 1) response.writeHead(200).end(segment);
  });
  const onItsWay = swarm.fetch(origin.url('/film/slow.ts'));
  await until('the origin was asked', () => asked === 1);

  const { memory } = await loadModule(undefined);
  new Uint8Array(memory.buffer).fill(0xff);
  origin.serve('/film/seg.ts', segment);
  const next = swarm.fetch(origin.url('/film/seg.ts'));
  for (const response of await Promise.all([onItsWay, next])) {
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(segment);
  }
  expect(errors.map(({ code }) => code)).toEqual(['module-failed']);
  expect(states).toEqual([{ mode: 'http' }]);
  expect(swarm.stats()).toMatchObject({ mode: 'http', peers: [] });

  const later = await Tabswarm.create(options);
  expect(later.stats().mode).toBe('http');
  swarm.destroy();
  later.destroy();
});
