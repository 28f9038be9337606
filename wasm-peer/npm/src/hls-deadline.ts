/** When hls.js needs a fragment: how long peers may take before the origin is asked. */

/** A paused player needs nothing soon. Milliseconds. */
const PAUSED_MS = 30_000;

/** Of a media element, what tells how much is left to play. @internal */
export type Playhead = Pick<
  HTMLMediaElement,
  'buffered' | 'currentTime' | 'ended' | 'paused' | 'playbackRate' | 'readyState' | 'seeking'
>;

/** Of a fragment, what tells when it is needed. @internal */
export interface Placed {
  readonly sn: number | 'initSegment';
  /** Seconds on the media element's timeline. */
  readonly start: number;
  /** Seconds. */
  readonly duration: number;
}

/** `HTMLMediaElement.HAVE_FUTURE_DATA`: it can play on from here. */
const HAVE_FUTURE_DATA = 3;

/** Seconds that are buffered without a hole from the playhead on. */
function bufferedAhead({ buffered, currentTime }: Playhead): number {
  for (let index = 0; index < buffered.length; index += 1) {
    // Players skip holes of a frame or two.
    if (buffered.start(index) - 0.1 <= currentTime && currentTime < buffered.end(index)) {
      return buffered.end(index) - currentTime;
    }
  }
  return 0;
}

/**
 * Milliseconds until a fragment is needed, before there is a first frame: `firstStart` is where the first fragment begins,
 * and where playback will, unless the playhead has been moved. That one is needed at once, the others when those before them
 * will have played.
 * @internal
 */
export function deadlineBeforePlaybackMs(fragment: Placed, firstStart: number, media: Playhead | undefined): number {
  const from = media && (media.seeking || media.currentTime > 0) ? media.currentTime : firstStart;
  return fragment.sn === 'initSegment' ? 0 : Math.max(0, (fragment.start - from) * 1000);
}

/**
 * Milliseconds until a fragment is needed: what is left to play before it, at the rate of playback. At once while the
 * player can't play on; far while it is paused. An init segment is needed where the buffer ends.
 * @internal
 */
export function deadlineMs(fragment: Placed, media: Playhead | undefined): number {
  if (!media || media.readyState < HAVE_FUTURE_DATA) return 0;
  if ((media.paused || media.ended) && !media.seeking) return PAUSED_MS;
  const ahead = fragment.sn === 'initSegment' ? bufferedAhead(media) : fragment.start - media.currentTime;
  const rate = Math.abs(media.playbackRate) || 1;
  return Math.max(0, (ahead / rate) * 1000);
}

/**
 * The same of a fragment that the player has not asked for: while it can't play on, what it asked for comes first.
 * @internal
 */
export function deadlineAheadMs(fragment: Placed, media: Playhead): number {
  const ms = deadlineMs(fragment, media);
  return media.readyState < HAVE_FUTURE_DATA ? Math.max(ms, (fragment.start - media.currentTime) * 1000) : ms;
}
