import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Engine } from '../src/engine.js';
import { TabswarmError } from '../src/errors.js';
import { resolveOptions, type TabswarmOptions } from '../src/options.js';
import { Streams } from '../src/streams.js';

const PLAYLIST = new URL('https://cdn.example/film/master.m3u8');
const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';

let joined: number;
let left: number[];
beforeEach(() => {
  joined = 0;
  left = [];
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

/** With an engine that only counts. */
function streamsWith(options: TabswarmOptions): Streams {
  const engine: Pick<Engine, 'open' | 'addManifest' | 'closeStream'> = {
    open: () => joined++,
    addManifest: () => undefined,
    closeStream: (place) => void left.push(place),
  };
  return new Streams(Promise.resolve(engine as Engine), resolveOptions(options));
}

/** A server that says nothing, and how often it was asked. */
function silentServer(): { asked: number } {
  const seen = { asked: 0 };
  vi.stubGlobal('fetch', (_url: URL, { signal }: { signal: AbortSignal }) => {
    seen.asked += 1;
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
  });
  return seen;
}

describe('a manifest that does not come', () => {
  beforeEach(() => void vi.useFakeTimers());

  test('is waited for once, for a second from the opening', async () => {
    silentServer();
    const stream = streamsWith({ publisherKey: KEY }).open(PLAYLIST);
    let waiting = true;
    void stream.patience.then(() => (waiting = false));
    await vi.advanceTimersByTimeAsync(999);
    expect(waiting).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    expect(waiting).toBe(false);
    expect(stream.state).toBe('joining');
    stream.ready.catch(() => undefined);
  });

  test('is given up at the end, and leaves no timer', async () => {
    silentServer();
    const streams = streamsWith({ publisherKey: KEY });
    const { ready, patience } = streams.open(PLAYLIST);
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(2);
    streams.end(new TabswarmError('destroyed', 'over'));
    await expect(ready).rejects.toMatchObject({ code: 'destroyed' });
    await patience;
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is none after ten seconds', async () => {
    silentServer();
    const stream = streamsWith({ publisherKey: KEY }).open(PLAYLIST);
    const refused = expect(stream.ready).rejects.toMatchObject({ code: 'manifest-unavailable' });
    await vi.advanceTimersByTimeAsync(10_000);
    await refused;
    expect(stream.state).toBe('failed');
  });
});

test.each<TabswarmOptions>([{ publisherKey: KEY }, { roots: 'origin' }])(
  'a stream that could not be joined is left, and tried again when it is opened again: %o',
  async (options) => {
    const answers = [new Response(null, { status: 503 }), new Response('manifest')];
    vi.stubGlobal('fetch', async () => answers.shift());
    const streams = streamsWith(options);
    await expect(streams.open(PLAYLIST).ready).rejects.toMatchObject({ code: 'manifest-unavailable' });
    expect(left).toHaveLength(joined);
    const again = streams.open(PLAYLIST);
    await again.ready;
    expect(again).toMatchObject({ state: 'joined', place: joined - 1 });
    expect(answers).toEqual([]);
  },
);

describe('a newer manifest', () => {
  /** An open stream, and what its engine is given from then on. */
  async function opened(addManifest: Engine['addManifest']): Promise<Streams> {
    vi.stubGlobal('fetch', async () => new Response('first'));
    const engine = { open: () => 0, addManifest, closeStream: () => undefined };
    const streams = new Streams(Promise.resolve(engine as unknown as Engine), resolveOptions({ publisherKey: KEY }));
    await streams.open(PLAYLIST).ready;
    return streams;
  }

  test('is fetched past the cache and given to the engine, or that there is none', async () => {
    const given: (string | undefined)[] = [];
    const streams = await opened((_place, manifest) => void given.push(manifest && new TextDecoder().decode(manifest)));
    const fetch = vi.fn(async () => new Response('second'));
    vi.stubGlobal('fetch', fetch);
    await streams.refresh(0);
    fetch.mockImplementation(async () => new Response(null, { status: 404 }));
    await streams.refresh(0);
    expect(given).toEqual(['second', undefined]);
    const url = new URL('https://cdn.example/film/master.m3u8.tabswarm');
    expect(fetch).toHaveBeenCalledWith(url, expect.objectContaining({ cache: 'no-cache' }));
    await streams.refresh(7);
    expect(given).toHaveLength(3);
    expect(fetch).toHaveBeenCalledTimes(2);
  });

  test('that does not verify is no error of the stream', async () => {
    const streams = await opened(() => {
      throw new Error('manifest');
    });
    await streams.refresh(0);
    expect(streams.at(0)).toMatchObject({ state: 'joined' });
  });
});

describe('a manifest that a playlist brings along', () => {
  const BASE64 = btoa('\0newer\xff');
  const BYTES = [0, ...new TextEncoder().encode('newer'), 255];
  const LIVE = `#EXTM3U\n#EXTINF:2,\n1.m4s\n`;

  /** An open stream, and what its engine is given along. */
  async function opened(options: TabswarmOptions) {
    vi.stubGlobal('fetch', async () => new Response('first'));
    const given: number[][] = [];
    const engine = {
      open: () => 0,
      closeStream: () => undefined,
      addManifest: (_place: number, manifest: Uint8Array | undefined, along?: boolean) => {
        if (along) given.push([...(manifest ?? [])]);
        if (manifest?.length === 1) throw new Error('manifest');
      },
    };
    const streams = new Streams(Promise.resolve(engine as unknown as Engine), resolveOptions(options));
    await streams.open(PLAYLIST).ready;
    const take = (m3u8: string, url = 'https://cdn.example/film/high.m3u8', playlist = PLAYLIST.href) =>
      streams.takeAlong(playlist, { url, m3u8 });
    return { given, take };
  }

  test('is given to the engine, whatever its line ends with', async () => {
    const { given, take } = await opened({ publisherKey: KEY });
    take(`${LIVE}#EXT-X-TABSWARM:AAAA\n#EXT-X-TABSWARM:${BASE64}\n`);
    take(`${LIVE}#EXT-X-TABSWARM:${BASE64}\r\n`);
    take(`${LIVE}#EXT-X-TABSWARM:${BASE64}`);
    expect(given).toEqual([BYTES, BYTES, BYTES]);
  });

  test('is none where it is not the last line, no base64, or nothing that verifies', async () => {
    const { given, take } = await opened({ publisherKey: KEY });
    take(LIVE);
    take(`${LIVE}# see #EXT-X-TABSWARM:${BASE64}\n`);
    take(`${LIVE}#EXT-X-TABSWARM:${BASE64}\n#EXTINF:2,\n2.m4s\n`);
    take(`${LIVE}#EXT-X-TABSWARM:!${BASE64}\n`);
    take(`${LIVE}#EXT-X-TABSWARM:${BASE64}\n`, undefined, 'https://cdn.example/other.m3u8');
    expect(given).toEqual([]);
    take(`${LIVE}#EXT-X-TABSWARM:AA==\n`);
    expect(given).toEqual([[0]]);
  });

  test('without a pinned key counts where an unsigned file would, and never beside attestations', async () => {
    const text = `${LIVE}#EXT-X-TABSWARM:${BASE64}\n`;
    const origin = await opened({ roots: 'origin' });
    origin.take(text, 'http://cdn.example/film/high.m3u8');
    expect(origin.given).toEqual([]);
    origin.take(text);
    expect(origin.given).toEqual([BYTES]);
    const attested = await opened({});
    attested.take(text);
    expect(attested.given).toEqual([]);
  });
});

test('a stream is left when the last who opened it closes it', async () => {
  const streams = streamsWith({});
  await streams.open(PLAYLIST).ready;
  await streams.open(PLAYLIST).ready;
  expect(joined).toBe(1);
  streams.close(PLAYLIST);
  expect(left).toEqual([]);
  streams.close(PLAYLIST);
  expect(left).toEqual([0]);
  streams.close(PLAYLIST);
  expect(left).toEqual([0]);
});

test('a segment is of the stream whose directory it is deepest in, whatever the playlists are called', () => {
  const streams = streamsWith({});
  const inner = streams.open(new URL('https://cdn.example/film/extras/m.m3u8'));
  const outer = streams.open(new URL('https://cdn.example/film/a-playlist-with-a-long-name.m3u8'));
  const find = (path: string) => streams.find(new URL(path, PLAYLIST), undefined);
  expect(find('/film/extras/1.ts')).toBe(inner);
  expect(find('/film/1.ts')).toBe(outer);
  const deep = streams.open(new URL('https://cdn.example/film/extras/cut/m.m3u8'));
  expect(find('/film/extras/cut/1.ts')).toBe(deep);
  expect(find('/film/extras/1.ts')).toBe(inner);
  expect(find('/elsewhere/1.ts')).toBe(deep);
});
