import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Tabswarm, type SegmentLoadedDetail, type TabswarmError, type TabswarmOptions } from '../src/index.js';
import { sessionOf } from '../src/swarm.js';
import { Origin, pattern, pretendBrowser, until } from './environment.js';

const SEGMENT = pattern(300_000);

let origin: Origin;
let swarms: Tabswarm[];
beforeEach(async () => {
  pretendBrowser();
  origin = await Origin.start();
  origin.serve('/film/seg.ts', SEGMENT);
  swarms = [];
});
afterEach(async () => {
  for (const swarm of swarms) swarm.destroy();
  vi.unstubAllGlobals();
  await origin.close();
});

/** With the engine: P2P waits for consent that never comes. */
async function engine(options: TabswarmOptions = {}): Promise<Tabswarm> {
  const wasmUrl = origin.url('/tabswarm_bg.wasm');
  const swarm = await Tabswarm.create({ signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl, ...options });
  swarms.push(swarm);
  expect(swarm.stats().mode).toBe('off');
  await swarm.open(origin.url('/film/master.m3u8'));
  return swarm;
}

/** Without: no service is named. */
async function plain(): Promise<Tabswarm> {
  const swarm = await Tabswarm.create();
  swarms.push(swarm);
  expect(swarm.stats().mode).toBe('http');
  return swarm;
}

describe.each([['with the engine', engine], ['without it', plain]] as const)('fetch %s', (_name, make) => {
  test('gives the bytes as a Response', async () => {
    const response = await (await make()).fetch(origin.url('/film/seg.ts'));
    expect(response).toBeInstanceOf(Response);
    expect([response.status, response.ok, response.url]).toEqual([200, true, origin.url('/film/seg.ts')]);
    expect(response.headers.get('content-length')).toBe('300000');
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(SEGMENT);
  });

  test('gives a body that is read once, in whatever way, and is the reader\'s own', async () => {
    const swarm = await make();
    const get = () => swarm.fetch(origin.url('/film/seg.ts'));
    const buffer = await get();
    const reading = buffer.arrayBuffer();
    expect(buffer.bodyUsed).toBe(true);
    await expect(buffer.arrayBuffer()).rejects.toThrow(TypeError);
    await expect(buffer.bytes()).rejects.toThrow(TypeError);
    await expect(buffer.text()).rejects.toThrow(TypeError);
    new Uint8Array(await reading).fill(0);
    expect(await (await get()).bytes()).toEqual(SEGMENT);
    const blob = await get();
    const copy = blob.clone();
    expect((await blob.blob()).size).toBe(SEGMENT.length);
    await expect(blob.arrayBuffer()).rejects.toThrow(TypeError);
    expect(new Uint8Array(await copy.arrayBuffer())).toEqual(SEGMENT);
    const streamed = await get();
    const reader = streamed.body?.getReader();
    await expect(streamed.arrayBuffer()).rejects.toThrow(TypeError);
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
  });

  test('gives the part that a range asks for', async () => {
    const headers = { range: 'bytes=1000-20999' };
    const response = await (await make()).fetch(origin.url('/film/seg.ts'), { headers });
    expect(response.status).toBe(206);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(SEGMENT.subarray(1000, 21_000));
    expect(origin.seen.at(-1)?.range).toBe('bytes=1000-20999');
  });

  test.each([404, 410, 500, 503])('gives status %i as fetch does', async (status) => {
    origin.answer('/film/bad.ts', (_request, response) => response.writeHead(status).end('trouble'));
    const response = await (await make()).fetch(origin.url('/film/bad.ts'));
    expect([response.status, response.ok]).toEqual([status, false]);
  });

  test('rejects when the body breaks off', async () => {
    origin.answer('/film/cut.ts', (_request, response) => {
      response.writeHead(200, { 'content-length': 100_000 });
      response.write(SEGMENT.subarray(0, 40_000), () => response.destroy());
    });
    const swarm = await make();
    const whole = async () => (await swarm.fetch(origin.url('/film/cut.ts'))).arrayBuffer();
    await expect(whole()).rejects.toThrow();
  });

  test('rejects with a code when the origin is dead', async () => {
    const swarm = await make();
    origin.answer('/film/dead.ts', (request) => request.socket.destroy());
    await expect(swarm.fetch(origin.url('/film/dead.ts'))).rejects.toMatchObject({ name: 'TabswarmError', code: 'network' });
  });

  test('rejects after destroy()', async () => {
    const swarm = await make();
    swarm.destroy();
    await expect(swarm.fetch(origin.url('/film/seg.ts'))).rejects.toMatchObject({ code: 'destroyed' });
  });

  test('takes a URL, but no Request', async () => {
    const swarm = await make();
    expect((await swarm.fetch(new URL(origin.url('/film/seg.ts')))).status).toBe(200);
    vi.stubGlobal('location', new URL(origin.url('/watch.html')));
    const request = new Request(origin.url('/film/seg.ts')) as unknown as URL;
    await expect(swarm.fetch(request)).rejects.toMatchObject({ code: 'invalid-url' });
  });

  test('leaves what can not be read to the page’s fetch', async () => {
    origin.answer('/film/moved.ts', (_request, response) => response.writeHead(302, { location: '/film/seg.ts' }).end());
    const swarm = await make();
    const response = await swarm.fetch(origin.url('/film/moved.ts'), { redirect: 'manual' });
    const plain = await fetch(origin.url('/film/moved.ts'), { redirect: 'manual' });
    expect([response.type, response.status]).toEqual([plain.type, plain.status]);
    await swarm.fetch(origin.url('/film/seg.ts'), { mode: 'no-cors' });
    expect(swarm.stats().segments).toBe(0);
  });

  test('rejects with the reason of its signal, before and meanwhile', async () => {
    const swarm = await make();
    const before = swarm.fetch(origin.url('/film/seg.ts'), { signal: AbortSignal.abort('too late') });
    await expect(before).rejects.toBe('too late');
    let gone = false;
    origin.answer('/film/slow.ts', (request) => request.on('close', () => (gone = true)));
    const abort = new AbortController();
    const meanwhile = swarm.fetch(origin.url('/film/slow.ts'), { signal: abort.signal });
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    abort.abort('changed my mind');
    await expect(meanwhile).rejects.toBe('changed my mind');
    await until('the request was given up', () => gone);
  });

  test('sends the headers that it is given', async () => {
    await (await make()).fetch(origin.url('/film/seg.ts?t=1'), { headers: { 'x-viewer': 'one' } });
    expect(origin.seen.at(-1)).toMatchObject({ query: '?t=1', headers: { 'x-viewer': 'one' } });
  });

  test('leaves other methods, bodies and ranges to the page’s fetch', async () => {
    origin.answer('/film/api', (request, response) => response.writeHead(200).end(request.method));
    const swarm = await make();
    expect(await (await swarm.fetch(origin.url('/film/api'), { method: 'POST', body: 'x' })).text()).toBe('POST');
    expect((await swarm.fetch(origin.url('/film/seg.ts'), { method: 'HEAD' })).status).toBe(200);
    expect((await swarm.fetch(origin.url('/film/seg.ts'), { headers: { range: 'bytes=5-' } })).status).toBe(200);
  });
});

describe('the engine', () => {
  test('tells of the segment and counts its bytes', async () => {
    const swarm = await engine();
    const loaded: SegmentLoadedDetail[] = [];
    let chunks = 0;
    swarm.addEventListener('segment-loaded', ({ detail }) => loaded.push(detail));
    swarm.addEventListener('chunk-downloaded', ({ detail }) => (chunks += detail.bytes));
    const url = origin.url('/film/seg.ts');
    await swarm.fetch(url);
    expect(loaded).toEqual([
      expect.objectContaining({ url, bytes: 300_000, fromOrigin: 300_000, fromPeers: 0, delivery: 'origin-whole', peers: [] }),
    ]);
    expect(chunks).toBe(300_000);
    expect(swarm.stats()).toMatchObject({ originBytes: 300_000, peerBytes: 0, segments: 1, offload: 0, signaling: 'off' });
    expect(swarm.stats().wasmMemoryBytes).toBeLessThan(32 * 1024 * 1024);
  });

  test('makes no event that nobody listens for', async () => {
    const swarm = await engine();
    swarm.addEventListener('segment-loaded', () => undefined);
    const dispatch = vi.spyOn(swarm, 'dispatchEvent');
    await swarm.fetch(origin.url('/film/seg.ts'));
    expect(dispatch.mock.calls.map(([{ type }]) => type)).toEqual(['segment-loaded']);
  });

  test('asks the origin once for what two want at the same time', async () => {
    const swarm = await engine();
    const url = origin.url('/film/seg.ts');
    await Promise.all([swarm.fetch(url), swarm.fetch(url)]);
    expect(origin.seen.filter(({ path }) => path === '/film/seg.ts')).toHaveLength(1);
  });

  describe('of URLs that differ only in their query', () => {
    beforeEach(() => {
      origin.answer('/film/api', (request, response) => response.writeHead(200).end(`bytes of ${request.url}`));
    });
    const text = async (swarm: Tabswarm, path: string) => (await swarm.fetch(origin.url(path))).text();

    test('gives each its own bytes, at the same time and one after the other', async () => {
      const swarm = await engine();
      const paths = ['/film/api?seg=1', '/film/api?seg=2'];
      const own = paths.map((path) => `bytes of ${path}`);
      expect(await Promise.all(paths.map((path) => text(swarm, path)))).toEqual(own);
      expect(await text(swarm, '/film/api?seg=3')).toBe('bytes of /film/api?seg=3');
      expect(swarm.stats().segments).toBe(1);
    });

    test('shares what segmentKey gives one name', async () => {
      const swarm = await engine({ segmentKey: () => 'one/segment' });
      const texts = await Promise.all([text(swarm, '/film/api?token=a'), text(swarm, '/film/api?token=b')]);
      expect(texts).toEqual(Array(2).fill('bytes of /film/api?token=a'));
    });
  });

  test('stays in a stream that is open under two URLs until both are closed', async () => {
    let sockets = 0;
    vi.stubGlobal('WebSocket', class {
      constructor() {
        sockets += 1;
      }
      close(): void {}
    });
    const swarm = await engine();
    await swarm.open(origin.url('/film/master.m3u8?token=b'));
    sessionOf(swarm).close(origin.url('/film/master.m3u8'));
    // Without a stream nobody is asked for peers.
    swarm.enable();
    expect(sockets).toBe(1);
    swarm.disable();
    sessionOf(swarm).close(origin.url('/film/master.m3u8?token=b'));
    swarm.enable();
    expect(sockets).toBe(1);
  });

  test('keeps its memory small under segments far larger', async () => {
    const swarm = await engine();
    const large = pattern(8 * 1024 * 1024);
    const before = swarm.stats().wasmMemoryBytes;
    for (let round = 0; round < 4; round += 1) {
      origin.serve(`/film/large${round}.ts`, large);
      await swarm.fetch(origin.url(`/film/large${round}.ts`));
    }
    expect(swarm.stats().segments).toBe(4);
    expect(swarm.stats().wasmMemoryBytes - before).toBeLessThan(2 * 1024 * 1024);
  });

  test('destroy() rejects what is still being fetched', async () => {
    const swarm = await engine();
    origin.answer('/film/slow.ts', () => undefined);
    const fetching = swarm.fetch(origin.url('/film/slow.ts'));
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    swarm.destroy();
    await expect(fetching).rejects.toMatchObject({ code: 'destroyed' });
    await expect(swarm.open(origin.url('/film/master.m3u8'))).rejects.toMatchObject({ code: 'destroyed' });
    expect(swarm.stats().mode).toBe('http');
  });

  test('takes the path that segmentKey gives, and does without one that is none', async () => {
    const asked: string[] = [];
    const keys: (string | undefined)[] = ['one/segment', undefined, '../up'];
    const swarm = await engine({
      segmentKey: (url) => {
        asked.push(url.href);
        return keys[asked.length - 1];
      },
    });
    const errors: TabswarmError[] = [];
    swarm.addEventListener('error', ({ detail }) => errors.push(detail.error));
    for (let round = 0; round < 3; round += 1) {
      origin.serve(`/film/seg${round}.ts`, SEGMENT);
      const response = await swarm.fetch(origin.url(`/film/seg${round}.ts`));
      expect(new Uint8Array(await response.arrayBuffer())).toEqual(SEGMENT);
    }
    expect(asked).toHaveLength(3);
    expect(errors.map(({ code }) => code)).toEqual(['segment-key']);
  });

  test('without a usable manifest says so and goes on over HTTP', async () => {
    const publisherKey = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';
    const swarm = await Tabswarm.create({
      signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl: origin.url('/tabswarm_bg.wasm'), publisherKey,
    });
    swarms.push(swarm);
    const codes: string[] = [];
    swarm.addEventListener('error', ({ detail }) => codes.push(detail.error.code));
    await expect(swarm.open(origin.url('/film/master.m3u8'))).rejects.toMatchObject({ code: 'manifest-unavailable' });
    origin.serve('/film/other.m3u8.tabswarm', pattern(500));
    await expect(swarm.open(origin.url('/film/other.m3u8'))).rejects.toMatchObject({ code: 'manifest' });
    expect(codes).toEqual(['manifest-unavailable', 'manifest']);
    const response = await swarm.fetch(origin.url('/film/seg.ts'));
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(SEGMENT);
  });

  test('does not trust an unsigned manifest over plain HTTP from elsewhere', async () => {
    const swarm = await Tabswarm.create({
      signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl: origin.url('/tabswarm_bg.wasm'), roots: 'origin',
    });
    swarms.push(swarm);
    await expect(swarm.open(origin.url('/film/master.m3u8'))).rejects.toMatchObject({ code: 'insecure-manifest' });
    expect(origin.seen).toEqual([]);
  });
});

test('an issuer’s key that is none is told, and segments come over HTTP', async () => {
  const wasmUrl = origin.url('/tabswarm_bg.wasm');
  const identity = `01${'0'.repeat(62)}`;
  const swarm = await Tabswarm.create({ signaling: 'ws://127.0.0.1:9/swarm', wasmUrl, issuerKeys: [identity] });
  swarms.push(swarm);
  const codes: string[] = [];
  swarm.addEventListener('error', ({ detail }) => codes.push(detail.error.code));
  await until('the reason was told', () => codes.length > 0);
  expect([codes, swarm.stats().mode]).toEqual([['invalid-option'], 'http']);
  expect((await swarm.fetch(origin.url('/film/seg.ts'))).status).toBe(200);
});
