import { afterEach, describe, expect, it, vi } from 'vitest';
import { Sidecars } from '../src/sidecars.js';

const url = new URL('https://cdn.example/playlist.groups');
const file = Uint8Array.from({ length: 20_000 }, (_, at) => at % 251);
const neverAborted = new AbortController().signal;

/** An origin with the file, and the values of `Range` that it was asked for. */
function origin(answer: (start: number, end: number) => Response) {
  const asked: string[] = [];
  vi.stubGlobal('fetch', async (_: string, { headers, signal }: RequestInit) => {
    signal?.throwIfAborted();
    const { range = '' } = headers as Record<string, string>;
    asked.push(range);
    const [start = 0, last = 0] = range.match(/\d+/g)?.map(Number) ?? [];
    return answer(start, last + 1);
  });
  return asked;
}

const part = (start: number, end: number) => new Response(file.slice(start, end), { status: 206 });

async function read(sidecars: Sidecars, start: number, end: number, signal = neverAborted) {
  const response = await sidecars.request(url, `bytes=${start}-${end - 1}`, signal);
  return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) };
}

afterEach(() => vi.unstubAllGlobals());

describe('sidecars', () => {
  it('reads the first list alone and the next ones together', async () => {
    const asked = origin(part);
    const sidecars = new Sidecars();
    for (let start = 0; start < 8000; start += 1000) {
      expect(await read(sidecars, start, start + 1000)).toEqual({ status: 206, bytes: file.slice(start, start + 1000) });
    }
    expect(asked).toEqual(['bytes=0-999', 'bytes=1000-10191']);
  });

  it('asks once for lists that are wanted at the same time', async () => {
    const asked = origin(part);
    const sidecars = new Sidecars();
    await read(sidecars, 0, 1000);
    const lists = await Promise.all([1000, 2000, 3000].map((start) => read(sidecars, start, start + 1000)));
    expect(lists.map(({ bytes }) => bytes)).toEqual([1000, 2000, 3000].map((start) => file.slice(start, start + 1000)));
    expect(asked).toHaveLength(2);
  });

  it('asks again for what the file did not have yet', async () => {
    let length = 3000;
    const asked = origin((start, end) => part(start, Math.min(end, length)));
    const sidecars = new Sidecars();
    await read(sidecars, 0, 1000);
    await read(sidecars, 1000, 2000);
    length = 5000;
    expect((await read(sidecars, 3000, 4000)).bytes).toEqual(file.slice(3000, 4000));
    expect(asked).toEqual(['bytes=0-999', 'bytes=1000-10191', 'bytes=3000-3999']);
  });

  it('asks an origin without ranges for one list after the other', async () => {
    const asked = origin(() => new Response(file));
    const sidecars = new Sidecars();
    for (const start of [0, 1000, 2000, 3000]) {
      expect(await read(sidecars, start, start + 1000)).toEqual({ status: 200, bytes: file });
    }
    expect(asked).toEqual(['bytes=0-999', 'bytes=1000-10191', 'bytes=1000-1999', 'bytes=2000-2999', 'bytes=3000-3999']);
  });

  it('brings one list though the request for several was given up by another', async () => {
    let fail = (_: Error) => {};
    const asked = origin((start, end) => {
      if (end - start <= 1000) return part(start, end);
      return new Response(new ReadableStream({ start: (body) => void (fail = (error) => body.error(error)) }), { status: 206 });
    });
    const sidecars = new Sidecars();
    const given = new AbortController();
    await read(sidecars, 0, 1000);
    const first = read(sidecars, 1000, 2000, given.signal);
    const second = read(sidecars, 2000, 3000);
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    given.abort();
    fail(new Error('aborted'));
    await expect(first).rejects.toThrow();
    expect((await second).bytes).toEqual(file.slice(2000, 3000));
  });
});
