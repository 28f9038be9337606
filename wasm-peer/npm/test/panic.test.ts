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

test('a module that traps leaves everything to plain HTTP, in every instance at once and with what was on its way', async () => {
  const options = { signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl: origin.url('/tabswarm_bg.wasm') } as const;
  const [swarm, other] = await Promise.all([Tabswarm.create(options), Tabswarm.create(options)]);
  const errors: TabswarmError[] = [];
  const states: StateDetail[] = [];
  for (const one of [swarm, other]) {
    one.addEventListener('error', ({ detail }) => errors.push(detail.error));
    one.addEventListener('state', ({ detail }) => states.push(detail));
    await one.open(origin.url('/film/master.m3u8'));
  }

  const segment = pattern(50_000);
  let asked = 0;
  let gone = 0;
  // The first requests get no answer: who asked for them is lost.
  origin.answer('/film/slow.ts', (request, response) => {
    asked += 1;
    if (asked > 2) return void response.writeHead(200).end(segment);
    request.on('close', () => (gone += 1));
  });
  const onItsWay = [swarm.fetch(origin.url('/film/slow.ts')), other.fetch(origin.url('/film/slow.ts'))];
  await until('the origin was asked', () => asked === 2);

  const { memory } = await loadModule(undefined);
  new Uint8Array(memory.buffer).fill(0xff);
  origin.serve('/film/seg.ts', segment);
  const next = swarm.fetch(origin.url('/film/seg.ts'));
  for (const response of await Promise.all([...onItsWay, next])) {
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(segment);
  }
  await until('the requests of the module were given up', () => gone === 2);
  expect(errors.map(({ code }) => code)).toEqual(['module-failed', 'module-failed']);
  expect(states).toEqual([{ mode: 'http' }, { mode: 'http' }]);
  for (const one of [swarm, other]) expect(one.stats()).toMatchObject({ mode: 'http', peers: [] });

  const later = await Tabswarm.create(options);
  await until('it does without', () => later.stats().mode === 'http');
  for (const one of [swarm, other, later]) one.destroy();
});
