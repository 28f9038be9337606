import { describe, expect, test } from 'vitest';
import type { FragmentLoaderContext } from 'hls.js';
import { Attachment } from '../src/hls-attachment.js';
import { deadlineAheadMs, deadlineBeforePlaybackMs, deadlineMs, type Playhead } from '../src/hls-deadline.js';
import type { Session } from '../src/session.js';
import { pretendBrowser } from './environment.js';

function playhead(at: Partial<Playhead> & { ranges?: [number, number][] } = {}): Playhead {
  const { ranges = [[0, 20]], ...rest } = at;
  const buffered = { length: ranges.length, start: (i: number) => ranges[i]![0], end: (i: number) => ranges[i]![1] };
  return { buffered, currentTime: 10, ended: false, paused: false, playbackRate: 1, readyState: 4, seeking: false, ...rest };
}
const fragment = { sn: 5, start: 20, duration: 4 };

describe('a fragment is needed', () => {
  test('when the playhead reaches it, at the rate of playback', () => {
    expect(deadlineMs(fragment, playhead())).toBe(10_000);
    expect(deadlineMs(fragment, playhead({ playbackRate: 2 }))).toBe(5000);
    expect(deadlineMs(fragment, playhead({ playbackRate: 0 }))).toBe(10_000);
  });

  test('before the first frame, when those before it will have played', () => {
    const waiting = playhead({ currentTime: 0, readyState: 0, ranges: [] });
    for (const media of [undefined, waiting]) {
      expect(deadlineBeforePlaybackMs(fragment, 20, media)).toBe(0);
      expect(deadlineBeforePlaybackMs(fragment, 16, media)).toBe(4000);
      expect(deadlineBeforePlaybackMs({ ...fragment, start: 8 }, 16, media)).toBe(0);
      expect(deadlineBeforePlaybackMs({ sn: 'initSegment', start: 0, duration: 0 }, 16, media)).toBe(0);
    }
  });

  test('before the first frame, counted from where a seek has moved the playhead', () => {
    const sought = { currentTime: 600, readyState: 1, ranges: [] as [number, number][] };
    for (const media of [playhead({ ...sought, seeking: true }), playhead(sought)]) {
      expect(deadlineBeforePlaybackMs({ ...fragment, start: 600 }, 0, media)).toBe(0);
      expect(deadlineBeforePlaybackMs({ ...fragment, start: 604 }, 0, media)).toBe(4000);
    }
    const back = playhead({ currentTime: 0, readyState: 1, seeking: true, ranges: [] });
    expect(deadlineBeforePlaybackMs({ ...fragment, start: 4 }, 40, back)).toBe(4000);
  });

  test('at once in a stall', () => {
    expect(deadlineMs(fragment, undefined)).toBe(0);
    expect(deadlineMs(fragment, playhead({ readyState: 1 }))).toBe(0);
    expect(deadlineMs({ ...fragment, start: 8 }, playhead())).toBe(0);
  });

  test('in a stall after what the player asked for, if it has not asked for it', () => {
    const stalled = playhead({ readyState: 1 });
    expect(deadlineAheadMs(fragment, stalled)).toBe(10_000);
    expect(deadlineAheadMs({ ...fragment, start: 8 }, stalled)).toBe(0);
    expect(deadlineAheadMs(fragment, playhead({ playbackRate: 2 }))).toBe(5000);
  });

  test('far off while it is paused, but not in a seek', () => {
    expect(deadlineMs(fragment, playhead({ paused: true }))).toBe(30_000);
    expect(deadlineMs({ ...fragment, start: 9 }, playhead({ paused: true, seeking: true }))).toBe(0);
  });

  test('where the buffer ends, if it is an init segment', () => {
    const init = { sn: 'initSegment', start: 0, duration: 0 } as const;
    expect(deadlineMs(init, playhead({ ranges: [[0, 12], [15, 30]] }))).toBe(2000);
    expect(deadlineMs(init, playhead({ ranges: [] }))).toBe(0);
  });
});

test.each([
  ['playback', [0, 0, 2000]],
  ['economy', [0, 2500, 4500]],
])('before the first frame, with start: %s, segments are needed then', async (start, expected) => {
  pretendBrowser();
  const { default: Hls } = await import('hls.js');
  const hls = new Hls({ autoStartLoad: false });
  const session = { options: { start }, onEnd: () => () => undefined, hasPeers: false };
  const attachment = new Attachment(session as unknown as Session, hls);
  const needed = (sn: number | 'initSegment', startS: number) =>
    attachment.deadlineMs({ frag: { sn, start: startS, duration: 2 } } as unknown as FragmentLoaderContext);
  expect([needed('initSegment', 6), needed(3, 6), needed(4, 8)]).toEqual(expected);
  attachment.detach();
  hls.destroy();
});
