import { expect, test } from 'vitest';
import type Hls from 'hls.js';
import type { FragmentLoaderContext } from 'hls.js';
import { Ahead } from '../src/hls-ahead.js';
import { Load, type LoadRequest } from '../src/load.js';

const FRAGMENT_S = 2;

function fragments(level: number, from: number, count: number): Record<string, unknown>[] {
  return Array.from({ length: count }, (_, index) => {
    const sn = from + index;
    return { duration: FRAGMENT_S, level, sn, start: sn * FRAGMENT_S, type: 'main', url: `https://cdn.example/${level}/${sn}.m4s` };
  });
}

/** A player of one or more levels, what is asked for ahead in it, and what was given up. */
function stage({ levels = 1, maxBufferLength = 30 } = {}) {
  const details = Array.from({ length: levels }, (_, level) => ({ details: { fragments: fragments(level, 0, 10) } }));
  const hls = {
    audioTracks: [], autoLevelEnabled: levels > 1, config: { maxBufferLength }, levels: details, loadLevel: 0, media: { currentTime: 0 },
  };
  const asked: string[] = [];
  const given: string[] = [];
  const loads: Load[] = [];
  const playback = { hasBegun: true };
  const start = (context: FragmentLoaderContext, request: Omit<LoadRequest, 'deadlineMs'>) => {
    const { pathname } = new URL(context.url);
    asked.push(pathname);
    const load = new Load({ ...request, deadlineMs: 1000 } as LoadRequest, { cancel: () => given.push(pathname), setDeadline: () => undefined });
    loads.push(load);
    return load;
  };
  const ahead = new Ahead(hls as unknown as Hls, start, () => playback.hasBegun);
  const context = (sn: number, level = 0) => {
    const frag = details[level]?.details.fragments.find((known) => known['sn'] === sn);
    return { frag, headers: {}, part: null, responseType: 'arraybuffer', type: 'fragment', url: frag?.['url'] } as unknown as FragmentLoaderContext;
  };
  return { ahead, asked, context, details, given, hls, loads, playback };
}

const sources = { originBytes: 0, peerBytes: 9, diskBytes: 0, peers: [] };
const stored = { kind: 'delivered', status: 200, bytes: new Uint8Array(0), verified: true, ...sources, tookMs: 1 } as const;

test('what follows a fragment is asked for, each once, and taken over by the player', () => {
  const { ahead, asked, context, given } = stage();
  ahead.follow(context(0));
  ahead.follow(context(0));
  expect(asked).toEqual(['/0/1.m4s', '/0/2.m4s', '/0/3.m4s']);
  const load = ahead.take(context(1));
  expect(load?.isAhead).toBe(false);
  ahead.follow(context(1));
  expect(asked.slice(3)).toEqual(['/0/4.m4s']);
  expect(given).toEqual([]);
});

test('what follows a fragment that was asked for before playback began is asked for when it begins', () => {
  const { ahead, asked, context, playback } = stage();
  playback.hasBegun = false;
  ahead.follow(context(0));
  expect(asked).toEqual([]);
  playback.hasBegun = true;
  ahead.refresh();
  expect(asked).toEqual(['/0/1.m4s', '/0/2.m4s', '/0/3.m4s']);
});

test('nothing is asked for beyond the buffer that the player wants', () => {
  const { ahead, asked, context } = stage({ maxBufferLength: 5 });
  ahead.follow(context(1));
  expect(asked).toEqual(['/0/2.m4s']);
});

test('a live playlist that grows is followed', () => {
  const { ahead, asked, context, details } = stage();
  details[0]?.details.fragments.splice(2);
  ahead.follow(context(0));
  expect(asked).toEqual(['/0/1.m4s']);
  details[0]?.details.fragments.push(...fragments(0, 2, 1));
  ahead.refresh();
  expect(asked).toEqual(['/0/1.m4s', '/0/2.m4s']);
});

test('another level, or another place, gives up what was asked for', () => {
  const { ahead, asked, context, given, hls } = stage({ levels: 2 });
  ahead.follow(context(0));
  expect(asked).toEqual(['/0/1.m4s']);
  hls.loadLevel = 1;
  ahead.follow(context(0, 1));
  expect(given).toEqual(['/0/1.m4s']);
  expect(asked.slice(1)).toEqual(['/1/1.m4s']);
  ahead.follow(context(7, 1));
  expect(given.slice(1)).toEqual(['/1/1.m4s']);
  ahead.stop();
  expect(given.slice(2)).toEqual(['/1/8.m4s']);
});

test('what is complete and verified comes from the store, and only unverified bytes are handed over', () => {
  const { ahead, context, loads } = stage();
  ahead.follow(context(0));
  loads[0]?.stay();
  loads[0]?.finish(stored);
  expect(ahead.take(context(1))).toBeUndefined();
  loads[1]?.finish({ ...stored, bytes: new Uint8Array(5), verified: false });
  expect(ahead.take(context(2))).toBe(loads[1]);
  loads[2]?.finish({ kind: 'failed', code: 'network', status: 0 });
  expect(ahead.take(context(3))).toBeUndefined();
});

test('without peers nothing is fetched ahead', async () => {
  const { ahead, context, loads } = stage();
  ahead.follow(context(0));
  await loads[0]?.fetchPlainly();
  expect(await loads[0]?.outcome).toEqual({ kind: 'aborted', reason: undefined });
});
