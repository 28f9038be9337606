import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type Hls from 'hls.js';
import type { FragmentLoaderContext, HlsConfig, Loader, LoaderConfiguration, LoaderResponse, LoaderStats } from 'hls.js';
import { Tabswarm } from '../src/hls.js';
import type { Attachment } from '../src/hls-attachment.js';
import { makeLoaderClass, type FragmentLoaderClass } from '../src/hls-loader.js';
import { Load } from '../src/load.js';
import type { TransferListener } from '../src/transfer.js';
import { Origin, pattern, pretendBrowser, until } from './environment.js';

const SEGMENT = pattern(400_000);

let HlsClass: typeof Hls;
let origin: Origin;
let swarm: Tabswarm;
const players: Hls[] = [];

beforeEach(async () => {
  pretendBrowser();
  // hls.js looks at `self` as it is imported.
  HlsClass = (await import('hls.js')).default;
  origin = await Origin.start();
  // Playlists' addresses are relative to the page's.
  vi.stubGlobal('location', new URL(origin.url('/watch.html')));
  origin.serve('/film/master.m3u8', new TextEncoder().encode(MASTER));
  origin.serve('/film/seg.ts', SEGMENT);
  const wasmUrl = origin.url('/tabswarm_bg.wasm');
  swarm = await Tabswarm.create({ signaling: 'ws://127.0.0.1:9/swarm', consent: 'manual', wasmUrl });
});
afterEach(async () => {
  for (const hls of players.splice(0)) hls.destroy();
  swarm.destroy();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  await origin.close();
});

const MASTER = `#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=1000000
media.m3u8
`;

/** A real player without a screen. `progressive` makes it use its fetch loader: Node has no XMLHttpRequest. */
function player(config: Partial<HlsConfig> = {}): Hls {
  const hls = new HlsClass({ progressive: true, autoStartLoad: false, ...config });
  players.push(hls);
  return hls;
}

/** A player whose stream is open. */
async function attached(config?: Partial<HlsConfig>): Promise<Hls> {
  const hls = player(config);
  swarm.attach(hls);
  hls.loadSource(origin.url('/film/master.m3u8'));
  await until('the playlist was read', () => hls.levels.length > 0);
  return hls;
}

interface Result {
  readonly how: 'success' | 'error' | 'timeout' | 'abort';
  readonly stats: LoaderStats;
  readonly code?: number;
  readonly response?: LoaderResponse;
}

interface Loading {
  readonly loader: Loader<FragmentLoaderContext>;
  readonly context: FragmentLoaderContext;
  readonly result: Promise<Result>;
}

/** Does what hls.js does to load a fragment. */
function startLoading(
  hls: Hls,
  path: string,
  context: Partial<FragmentLoaderContext> = {},
  limits: { maxTimeToFirstByteMs?: number; maxLoadTimeMs?: number } = {},
): Loading {
  const { config } = hls;
  const LoaderClass = (config.fLoader ?? config.loader) as new (config: HlsConfig) => Loader<FragmentLoaderContext>;
  const loader = new LoaderClass(config);
  const frag = { sn: 1, type: 'main', start: 0, duration: 4, level: 0 };
  const full = { url: origin.url(path), frag, part: null, responseType: 'arraybuffer', headers: {}, ...context };
  const policy = { maxTimeToFirstByteMs: 5000, maxLoadTimeMs: 10_000, timeoutRetry: null, errorRetry: null, ...limits };
  const configuration = { loadPolicy: policy, timeout: policy.maxLoadTimeMs, maxRetry: 0, retryDelay: 0, maxRetryDelay: 0, highWaterMark: Infinity };
  const typed = full as unknown as FragmentLoaderContext;
  const result = new Promise<Result>((resolve) => {
    loader.load(typed, configuration as LoaderConfiguration, {
      onSuccess: (response, stats) => resolve({ how: 'success', stats, response }),
      onError: ({ code }, _context, _details, stats) => resolve({ how: 'error', stats, code }),
      onTimeout: (stats) => resolve({ how: 'timeout', stats }),
      onAbort: (stats) => resolve({ how: 'abort', stats }),
    });
  });
  return { loader, context: typed, result };
}

const bitsPerSecond = ({ loaded, loading }: LoaderStats) => (loaded * 8000) / (loading.end - loading.first);

describe('a fragment', () => {
  test('comes with its bytes, status and the stats object that hls.js holds', async () => {
    const hls = await attached();
    const { loader, result } = startLoading(hls, '/film/seg.ts');
    const held = loader.stats;
    const { how, response, stats } = await result;
    expect(how).toBe('success');
    expect(response).toMatchObject({ code: 200, url: origin.url('/film/seg.ts') });
    expect(new Uint8Array(response?.data as ArrayBuffer)).toEqual(SEGMENT);
    expect(stats).toBe(held);
    expect(stats).toMatchObject({ loaded: 400_000, total: 400_000, aborted: false });
    await until('the swarm has it too', () => swarm.stats().originBytes === 400_000);
  });

  test('has bytes of its own, for hls.js hands them to its worker', async () => {
    const hls = await attached();
    const results = await Promise.all([0, 1].map(() => startLoading(hls, '/film/seg.ts').result));
    await until('the swarm has it too', () => swarm.stats().originBytes === 400_000);
    const [one, other] = results.map(({ response }) => response?.data as ArrayBuffer);
    structuredClone(one, { transfer: [one!] });
    expect(one?.byteLength).toBe(0);
    expect(new Uint8Array(other!)).toEqual(SEGMENT);
  });

  test('of a byte range is that range', async () => {
    const { result } = startLoading(await attached(), '/film/seg.ts', { rangeStart: 1000, rangeEnd: 51_000 });
    const { response } = await result;
    expect(response?.code).toBe(206);
    expect(new Uint8Array(response?.data as ArrayBuffer)).toEqual(SEGMENT.subarray(1000, 51_000));
    expect(origin.seen.at(-1)?.range).toBe('bytes=1000-50999');
  });

  test.each([404, 500])('that the origin answers with %i is an error of that code', async (status) => {
    origin.answer('/film/bad.ts', (_request, response) => response.writeHead(status).end());
    const { result } = startLoading(await attached(), '/film/bad.ts');
    expect(await result).toMatchObject({ how: 'error', code: status });
  });

  test('whose body breaks off is an error without a code', async () => {
    origin.answer('/film/cut.ts', (_request, response) => {
      response.writeHead(200, { 'content-length': 100_000 });
      response.write(SEGMENT.subarray(0, 40_000), () => response.destroy());
    });
    const { result } = startLoading(await attached(), '/film/cut.ts');
    expect(await result).toMatchObject({ how: 'error', code: 0 });
  });

  test('times out when the origin does not answer, and when it does not end', async () => {
    origin.answer('/film/silent.ts', () => undefined);
    origin.answer('/film/endless.ts', (_request, response) => {
      response.writeHead(200);
      response.write(SEGMENT.subarray(0, 20_000));
    });
    const hls = await attached();
    const limits = { maxTimeToFirstByteMs: 100, maxLoadTimeMs: 300 };
    const silent = startLoading(hls, '/film/silent.ts', {}, limits);
    expect(await silent.result).toMatchObject({ how: 'timeout', stats: { aborted: true, loaded: 0 } });
    const endless = startLoading(hls, '/film/endless.ts', {}, limits);
    expect(await endless.result).toMatchObject({ how: 'timeout', stats: { aborted: true, loaded: 20_000 } });
  });

  test('that is aborted says so, and its request is given up', async () => {
    let gone = false;
    origin.answer('/film/slow.ts', (request) => request.on('close', () => (gone = true)));
    const { loader, result } = startLoading(await attached(), '/film/slow.ts');
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    loader.abort();
    expect(await result).toMatchObject({ how: 'abort', stats: { aborted: true } });
    loader.destroy();
    await until('the request was given up', () => gone);
  });

  test('loader can not be used twice', async () => {
    const { loader, context, result } = startLoading(await attached(), '/film/seg.ts');
    await result;
    expect(() => loader.load(context, {} as LoaderConfiguration, {} as never)).toThrow('once');
  });
});

describe('what hls.js adapts its quality to', () => {
  test('is the rate that a fragment from the origin came with', async () => {
    origin.answer('/film/paced.ts', (_request, response) => {
      response.writeHead(200, { 'content-length': 400_000 });
      for (let part = 0; part < 10; part += 1) {
        setTimeout(() => response.write(SEGMENT.subarray(part * 40_000, (part + 1) * 40_000)), part * 50);
      }
    });
    const began = performance.now();
    const { stats } = await startLoading(await attached(), '/film/paced.ts').result;
    const fastest = (400_000 * 8) / 0.4;
    const slowest = (400_000 * 8000) / (performance.now() - began + 1);
    expect(bitsPerSecond(stats)).toBeLessThan(fastest);
    expect(bitsPerSecond(stats)).toBeGreaterThan(slowest * 0.9);
    expect(stats.loading.first).toBeGreaterThanOrEqual(stats.loading.start);
    expect(stats.loading.start).toBeGreaterThan(0);
  });
});

describe('a fragment that stops coming', () => {
  /** Loads a fragment whose second half never comes, and gives its times half a second after the first half came. */
  async function stuck(start: number): Promise<{ stats: LoaderStats; silentMs: number }> {
    origin.answer('/film/stuck.ts', (_request, response) => {
      response.writeHead(200, { 'content-length': 400_000 });
      response.write(SEGMENT.subarray(0, 200_000));
    });
    const hls = await attached();
    await startLoading(hls, '/film/seg.ts').result;
    const frag = { sn: 2, type: 'main', start, duration: 4, level: 0 };
    const { loader } = startLoading(hls, '/film/stuck.ts', { frag } as unknown as Partial<FragmentLoaderContext>);
    const { stats } = loader;
    await until('half of it came', () => stats.loaded === 200_000);
    const silentSinceMs = performance.now();
    await until('it was silent for a while', () => performance.now() - silentSinceMs > 500);
    return { stats, silentMs: performance.now() - stats.loading.first };
  }

  test('looks slow to hls.js when it is needed now', async () => {
    const { stats, silentMs } = await stuck(0);
    expect(silentMs).toBeGreaterThan(450);
    expect(stats.loading.start).toBeLessThanOrEqual(stats.loading.first);
  });

  test('does not look slow while it has time', async () => {
    const { silentMs } = await stuck(60);
    expect(silentMs).toBeLessThan(450);
  });
});

test('a fragment that peers bring some of times out when the origin does not answer for the rest', async () => {
  vi.useFakeTimers();
  let listener: Required<TransferListener> | undefined;
  const attachment: Pick<Attachment, 'bytesPerMs' | 'deadlineMs' | 'handles' | 'load' | 'loaders'> = {
    bytesPerMs: 1000,
    deadlineMs: () => 0,
    handles: () => true,
    load: (_context, request, given) => {
      listener = given as Required<TransferListener>;
      return new Load(request, { cancel: () => undefined, setDeadline: () => undefined });
    },
    loaders: new Set(),
  };
  const hls = player();
  hls.config.fLoader = makeLoaderClass(attachment as Attachment, hls.config.loader as unknown as FragmentLoaderClass);
  const { result } = startLoading(hls, '/film/seg.ts', {}, { maxTimeToFirstByteMs: 1000, maxLoadTimeMs: 60_000 });
  let how = 'pending';
  void result.then((known) => (how = known.how));
  listener?.received(16_384, performance.now());
  listener?.originStarted(performance.now());
  await vi.advanceTimersByTimeAsync(900);
  listener?.received(16_384, performance.now());
  await vi.advanceTimersByTimeAsync(999);
  expect(how).toBe('pending');
  await vi.advanceTimersByTimeAsync(1);
  expect(how).toBe('timeout');
});

describe('left to hls.js itself', () => {
  const swarmBytes = () => swarm.stats().originBytes;

  test.each([
    ['parts of low-latency streams', { part: { index: 0 } }],
    ['subtitles', { frag: { sn: 1, type: 'subtitle', start: 0, duration: 4 } }],
  ])('are %s', async (_what, context) => {
    const { result } = startLoading(await attached(), '/film/seg.ts', context as unknown as Partial<FragmentLoaderContext>);
    const { response } = await result;
    expect(new Uint8Array(response?.data as ArrayBuffer)).toEqual(SEGMENT);
    expect(swarmBytes()).toBe(0);
  });

  test('is everything on an instance without peers', async () => {
    const plain = await Tabswarm.create();
    const hls = player();
    plain.attach(hls);
    expect(hls.config.fLoader).toBeUndefined();
    expect(hls.config.maxBufferLength).toBe(30);
  });
});

describe('attach()', () => {
  test('after loadSource shares, too', async () => {
    const hls = player();
    hls.loadSource(origin.url('/film/master.m3u8'));
    await until('the playlist was read', () => hls.levels.length > 0);
    swarm.attach(hls);
    await startLoading(hls, '/film/seg.ts').result;
    await until('the swarm has it too', () => swarm.stats().originBytes === 400_000);
  });

  test('lowers the buffer where the page has no wish', () => {
    const [free, wished] = [player(), player({ maxBufferLength: 60 })];
    swarm.attach(free);
    swarm.attach(wished);
    expect([free.config.maxBufferLength, free.config.maxMaxBufferLength]).toEqual([20, 20]);
    expect([wished.config.maxBufferLength, wished.config.maxMaxBufferLength]).toEqual([60, 600]);
  });

  test.each([
    ['its result', (detach: () => void) => detach()],
    ['destroy()', () => swarm.destroy()],
  ])('is taken back by %s', async (_what, end) => {
    const hls = player();
    const own = hls.config.fLoader;
    const detach = swarm.attach(hls);
    hls.loadSource(origin.url('/film/master.m3u8'));
    await until('the playlist was read', () => hls.levels.length > 0);
    const kept = hls.config.fLoader;
    let shared = 0;
    swarm.addEventListener('segment-loaded', () => (shared += 1));
    await startLoading(hls, '/film/seg.ts').result;
    expect(shared).toBe(1);
    end(detach);
    expect(hls.config.fLoader).toBe(own);
    expect([hls.config.maxBufferLength, hls.config.maxMaxBufferLength]).toEqual([30, 600]);
    // A page may hold on to the class that it found there.
    if (kept) hls.config.fLoader = kept;
    const { how, response } = await startLoading(hls, '/film/seg.ts').result;
    expect(how).toBe('success');
    expect(new Uint8Array(response?.data as ArrayBuffer)).toEqual(SEGMENT);
    expect(shared).toBe(1);
    expect(origin.seen.filter(({ path }) => path === '/film/seg.ts')).toHaveLength(2);
  });

  test('of two players to one stream lasts until the second detaches', async () => {
    const [one, other] = [await attached(), player()];
    const detach = swarm.attach(other);
    other.loadSource(origin.url('/film/master.m3u8'));
    await until('the playlist was read', () => other.levels.length > 0);
    detach();
    await startLoading(one, '/film/seg.ts').result;
    await until('the swarm has it too', () => swarm.stats().originBytes === 400_000);
  });

  test('ends with the player', () => {
    const hls = player();
    const { config } = hls;
    swarm.attach(hls);
    hls.destroy();
    expect(config.fLoader).toBeUndefined();
  });

  test('hands a fragment that is on its way to hls.js’s retry when the swarm is destroyed', async () => {
    origin.answer('/film/slow.ts', () => undefined);
    const { result } = startLoading(await attached(), '/film/slow.ts');
    await until('the origin was asked', () => origin.seen.some(({ path }) => path === '/film/slow.ts'));
    swarm.destroy();
    expect(await result).toMatchObject({ how: 'error', code: 0 });
  });

  test('sends what fetchSetup sets', async () => {
    const fetchSetup = vi.fn((context: { url: string }, init: RequestInit) => {
      const headers = new Headers(init.headers);
      headers.set('x-viewer', 'one');
      return new Request(`${context.url}?token=1`, { ...init, headers });
    });
    const { result } = startLoading(await attached({ fetchSetup }), '/film/seg.ts', { headers: { 'x-frag': 'yes' } });
    expect((await result).how).toBe('success');
    expect(origin.seen.at(-1)).toMatchObject({ query: '?token=1', headers: { 'x-viewer': 'one', 'x-frag': 'yes' } });
  });
});
