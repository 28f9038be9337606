/** How playback went, for the facts on the page and for automated tests. */

/** Where playback stands. */
type Phase =
  | { readonly kind: 'starting' }
  | { readonly kind: 'playing' }
  | { readonly kind: 'seeking' }
  | { readonly kind: 'stalled' | 'hitched'; readonly sinceMs: number };

/** The media events that {@link StallMeter} listens to. */
export const METERED_EVENTS = ['play', 'playing', 'waiting', 'seeking', 'pause', 'ended'] as const;

/** One of {@link METERED_EVENTS}. */
export type MeteredEvent = (typeof METERED_EVENTS)[number];

/** Less than this ahead of the position is no data to play on with. */
const MIN_AHEAD_SECONDS = 0.5;

/** Interruptions of one kind. */
interface Tally {
  count: number;
  ms: number;
}

/**
 * Counts stalls: `waiting` for data after the first `playing`, until the next `playing`. Waiting with data at hand, for a
 * decoder that a busy machine or page holds up, is a hitch and counted apart. Waiting for a seek or for the start is
 * neither. All times are monotonic milliseconds.
 */
export class StallMeter {
  #phase: Phase = { kind: 'starting' };
  readonly #tallies: Readonly<Record<'stalled' | 'hitched', Tally>> = {
    stalled: { count: 0, ms: 0 },
    hitched: { count: 0, ms: 0 },
  };
  readonly #autoplay: boolean;
  #askedMs: number;
  #startMs: number | null = null;

  /** `nowMs`: when the page began to set up the player; `autoplay`: whether playing was asked for then. */
  constructor(nowMs: number, autoplay: boolean) {
    this.#askedMs = nowMs;
    this.#autoplay = autoplay;
  }

  /** Milliseconds from asking for playback (the page's start with autoplay, else a press on play) to the first frame. */
  get startMs(): number | null {
    return this.#startMs;
  }

  /** Stalls so far, the one that is on included. */
  get stalls(): number {
    return this.#tallies.stalled.count;
  }

  /** Milliseconds spent stalled, the stall that is on included. */
  stalledMs(nowMs: number): number {
    return this.#spentMs('stalled', nowMs);
  }

  /** Hitches so far, the one that is on included. */
  get hitches(): number {
    return this.#tallies.hitched.count;
  }

  /** Milliseconds spent in hitches, the one that is on included. */
  hitchedMs(nowMs: number): number {
    return this.#spentMs('hitched', nowMs);
  }

  #spentMs(kind: 'stalled' | 'hitched', nowMs: number): number {
    const phase = this.#phase;
    return this.#tallies[kind].ms + (phase.kind === kind ? nowMs - phase.sinceMs : 0);
  }

  /** Takes one media event. `aheadSeconds`: what was buffered ahead of the position then, Infinity near the end. */
  handle(event: MeteredEvent, nowMs: number, aheadSeconds: number): void {
    if (this.#phase.kind === 'starting') {
      this.#handleStart(event, nowMs);
      return;
    }
    if (event === 'waiting' && this.#phase.kind === 'playing') {
      const kind = aheadSeconds < MIN_AHEAD_SECONDS ? 'stalled' : 'hitched';
      this.#tallies[kind].count += 1;
      this.#phase = { kind, sinceMs: nowMs };
    } else if (event === 'seeking') {
      this.#leave(nowMs, { kind: 'seeking' });
    } else if (event !== 'waiting' && event !== 'play') {
      // A paused or ended seek has nothing left to wait for; the `waiting` after the next `play` counts again.
      this.#leave(nowMs, { kind: 'playing' });
    }
  }

  #handleStart(event: MeteredEvent, nowMs: number): void {
    if (event === 'play' && !this.#autoplay) this.#askedMs = nowMs;
    if (event !== 'playing') return;
    this.#startMs = nowMs - this.#askedMs;
    this.#phase = { kind: 'playing' };
  }

  #leave(nowMs: number, next: Phase): void {
    const phase = this.#phase;
    if (phase.kind === 'stalled' || phase.kind === 'hitched') this.#tallies[phase.kind].ms += nowMs - phase.sinceMs;
    this.#phase = next;
  }
}

/** Seconds of media that were played, from a media element's `played` ranges. */
export function playedSeconds(ranges: Pick<TimeRanges, 'length' | 'start' | 'end'>): number {
  let seconds = 0;
  for (let i = 0; i < ranges.length; i += 1) seconds += ranges.end(i) - ranges.start(i);
  return seconds;
}

/** Seconds buffered ahead of `position`. */
export function bufferedAhead(ranges: Pick<TimeRanges, 'length' | 'start' | 'end'>, position: number): number {
  for (let i = 0; i < ranges.length; i += 1) {
    // Players skip gaps of a frame or two: a position just before a range is inside it.
    if (ranges.start(i) - 0.1 <= position && position < ranges.end(i)) return ranges.end(i) - position;
  }
  return 0;
}

/** What a media element has to play on with, seconds: Infinity when that reaches its end. */
export function playableAhead(media: Pick<HTMLMediaElement, 'buffered' | 'currentTime' | 'duration'>): number {
  const ahead = bufferedAhead(media.buffered, media.currentTime);
  return media.duration - media.currentTime - ahead < MIN_AHEAD_SECONDS ? Infinity : ahead;
}

/** The share of the downloaded bytes that came from viewers, 0 to 1; 0 before the first byte. */
export function offloadOf(originBytes: number, peerBytes: number): number {
  const total = originBytes + peerBytes;
  return total > 0 ? peerBytes / total : 0;
}
