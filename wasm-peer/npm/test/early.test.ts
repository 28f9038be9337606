import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Tabswarm } from '../src/hls.js';
import type { TabswarmOptions } from '../src/index.js';
import type { LoadRequest } from '../src/load.js';
import type { Session } from '../src/session.js';
import { Origin, pattern, pretendBrowser, until } from './environment.js';

const SEGMENT = pattern(300_000);

let origin: Origin;
let swarm: Tabswarm | undefined;
/** Requests for the module that were not answered. */
let held: ServerResponse[];
beforeEach(async () => {
  pretendBrowser();
  origin = await Origin.start();
  origin.serve('/film/seg.ts', SEGMENT);
  held = [];
  origin.answer('/held.wasm', (_request, response) => held.push(response));
});
afterEach(async () => {
  swarm?.destroy();
  await origin.close();
});

/** An instance whose module, and the glue of an own copy, is on its way. */
async function starting(options: TabswarmOptions = {}): Promise<Tabswarm> {
  const session = await created(options);
  session.begin();
  await until('the module was asked for', () => held.length > 0);
  return swarm!;
}

/** What stands behind an instance that has not asked for its module. */
async function created(options: TabswarmOptions = {}): Promise<Session> {
  vi.resetModules();
  const { Tabswarm: Fresh } = await import('../src/hls.js');
  const { sessionOf } = await import('../src/swarm.js');
  const wasmUrl = origin.url('/held.wasm');
  swarm = await Fresh.create({ signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl, ...options });
  return sessionOf(swarm);
}

function answerModule(): void {
  const module = origin.url('/tabswarm_bg.wasm');
  for (const response of held.splice(0)) {
    void fetch(module).then(async (answer) => {
      const bytes = new Uint8Array(await answer.arrayBuffer());
      response.writeHead(200, { 'content-type': 'application/wasm' }).end(bytes);
    });
  }
}

/** The origin sends the first 100,000 bytes of the slow segment, and the rest when what this returns is called. */
function answerSlowly(): () => void {
  let rest = () => {};
  origin.answer('/film/slow.ts', (_request, response) => {
    response.writeHead(200, { 'content-length': SEGMENT.length }).write(SEGMENT.subarray(0, 100_000));
    rest = () => response.end(SEGMENT.subarray(100_000));
  });
  return () => rest();
}

const asked = () => origin.seen.filter(({ path }) => path === '/film/seg.ts').length;

async function bytesOf(response: Promise<Response>): Promise<Uint8Array> {
  return new Uint8Array(await (await response).arrayBuffer());
}

describe('a segment that is wanted before the module is there', () => {
  test('is delivered as the origin sent it, and then the module’s too', async () => {
    const swarm = await starting();
    const opened = swarm.open(origin.url('/film/master.m3u8'));
    const loaded: unknown[] = [];
    swarm.addEventListener('segment-loaded', ({ detail }) => loaded.push(detail));
    expect(await bytesOf(swarm.fetch(origin.url('/film/seg.ts')))).toEqual(SEGMENT);
    expect(swarm.stats()).toMatchObject({ mode: 'off', wasmMemoryBytes: 0 });
    expect(loaded).toMatchObject([{ bytes: SEGMENT.length, fromOrigin: SEGMENT.length, delivery: 'origin-whole' }]);
    answerModule();
    await opened;
    await until('the module has it', () => swarm.stats().segments === 1);
    expect(swarm.stats()).toMatchObject({ originBytes: SEGMENT.length });
    expect(asked()).toBe(1);
  });

  test('of which only a part has come is the module’s with that part', async () => {
    const rest = answerSlowly();
    const swarm = await starting();
    const opened = swarm.open(origin.url('/film/master.m3u8'));
    const segment = bytesOf(swarm.fetch(origin.url('/film/slow.ts')));
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    answerModule();
    await opened;
    await until('the module has what came', () => swarm.stats().originBytes === 100_000);
    rest();
    expect(await segment).toEqual(SEGMENT);
    expect(swarm.stats()).toMatchObject({ originBytes: SEGMENT.length, segments: 1 });
    expect(origin.seen.filter(({ path }) => path === '/film/slow.ts')).toHaveLength(1);
  });

  test('of a byte range is delivered as that range, and then the module’s too', async () => {
    const swarm = await starting();
    const opened = swarm.open(origin.url('/film/master.m3u8'));
    const part = bytesOf(swarm.fetch(origin.url('/film/seg.ts'), { headers: { range: 'bytes=20000-119999' } }));
    expect(await part).toEqual(SEGMENT.subarray(20_000, 120_000));
    answerModule();
    await opened;
    await until('the module has it', () => swarm.stats().segments === 1);
    expect(asked()).toBe(1);
  });

  test('comes with that request when there will be no module', async () => {
    const swarm = await starting();
    const opened = swarm.open(origin.url('/film/master.m3u8'));
    const segment = bytesOf(swarm.fetch(origin.url('/film/seg.ts')));
    await until('the origin was asked', () => asked() === 1);
    for (const response of held.splice(0)) response.writeHead(404).end();
    await opened;
    expect(await segment).toEqual(SEGMENT);
    expect(asked()).toBe(1);
    expect(swarm.stats().mode).toBe('http');
  });

  test('is given up with its request', async () => {
    let gone = false;
    origin.answer('/film/slow.ts', (request) => request.on('close', () => (gone = true)));
    const swarm = await starting();
    swarm.open(origin.url('/film/master.m3u8')).catch(() => undefined);
    const abort = new AbortController();
    const segment = swarm.fetch(origin.url('/film/slow.ts'), { signal: abort.signal });
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    abort.abort('changed my mind');
    await expect(segment).rejects.toBe('changed my mind');
    await until('the request was given up', () => gone);
  });

  test('is not taken from another who waits for the same when one gives it up', async () => {
    const rest = answerSlowly();
    const swarm = await starting();
    const opened = swarm.open(origin.url('/film/master.m3u8'));
    const abort = new AbortController();
    const first = swarm.fetch(origin.url('/film/slow.ts'), { signal: abort.signal });
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    answerModule();
    await opened;
    await until('the module has what came', () => swarm.stats().originBytes === 100_000);
    const second = bytesOf(swarm.fetch(origin.url('/film/slow.ts')));
    abort.abort('changed my mind');
    await expect(first).rejects.toBe('changed my mind');
    rest();
    expect(await second).toEqual(SEGMENT);
    expect(origin.seen.filter(({ path }) => path === '/film/slow.ts')).toHaveLength(1);
  });

  test('waits for peers with start: economy', async () => {
    const swarm = await starting({ start: 'economy' });
    const opened = swarm.open(origin.url('/film/master.m3u8'));
    const segment = bytesOf(swarm.fetch(origin.url('/film/seg.ts')));
    await fetch(origin.url('/film/other.ts'));
    expect(asked()).toBe(0);
    answerModule();
    await opened;
    expect(await segment).toEqual(SEGMENT);
    expect(asked()).toBe(1);
  });
});

describe('the module', () => {
  const request = (deadlineMs: number): LoadRequest => ({
    url: new URL(origin.url('/film/seg.ts')),
    range: undefined,
    init: {},
    deadlineMs,
  });

  test('is not asked for before the first picture, but for the segment after it', async () => {
    const session = await created();
    session.open(origin.url('/film/master.m3u8')).catch(() => undefined);
    expect(await session.load(request(0))?.outcome).toMatchObject({ kind: 'delivered', bytes: SEGMENT });
    expect(held).toHaveLength(0);
    session.load(request(2000));
    await until('the module was asked for', () => held.length > 0);
    expect(asked()).toBe(1);
  });

  test('is asked for once the picture is there', async () => {
    const session = await created();
    session.firstFrame();
    await until('the module was asked for', () => held.length > 0);
  });

  test('is asked for when the first segment takes long, or does not come', async () => {
    origin.answer('/film/slow.ts', () => undefined);
    const session = await created();
    session.open(origin.url('/film/master.m3u8')).catch(() => undefined);
    session.load({ ...request(0), url: new URL(origin.url('/film/slow.ts')) });
    await until('the module was asked for', () => held.length > 0);
  });

  test('is asked for at once when the first segment is not to be had', async () => {
    const session = await created();
    session.open(origin.url('/film/master.m3u8')).catch(() => undefined);
    const failed = session.load({ ...request(0), url: new URL(origin.url('/film/none.ts')) });
    await until('the module was asked for', () => held.length > 0);
    answerModule();
    expect(await failed?.outcome).toMatchObject({ kind: 'failed', status: 404 });
  });
});

test('an instance that is destroyed before its module came never starts', async () => {
  const swarm = await starting();
  const errors: unknown[] = [];
  swarm.addEventListener('error', ({ detail }) => errors.push(detail.error));
  const refused = expect(swarm.open(origin.url('/film/master.m3u8'))).rejects.toMatchObject({ code: 'destroyed' });
  swarm.destroy();
  answerModule();
  await refused;
  expect(swarm.stats()).toMatchObject({ mode: 'http', wasmMemoryBytes: 0 });
  expect(errors).toEqual([]);
});

test('a player gets its own loaders back when there will be no module', async () => {
  const { default: Hls } = await import('hls.js');
  const hls = new Hls({ autoStartLoad: false });
  const swarm = await starting();
  swarm.attach(hls);
  expect([typeof hls.config.fLoader, hls.config.maxBufferLength]).toEqual(['function', 20]);
  for (const response of held.splice(0)) response.writeHead(404).end();
  await until('the loaders are back', () => hls.config.fLoader === undefined);
  expect(hls.config.maxBufferLength).toBe(30);
  hls.destroy();
});
