/** What automated tests read from the page. */

/** Where one segment's bytes came from. */
export interface SegmentRecord {
  readonly url: string;
  readonly bytes: number;
  readonly fromOrigin: number;
  readonly fromPeers: number;
  readonly delivery: string;
  readonly durationMs: number;
}

/** One viewer's balance. Bytes since the page was opened. */
export interface DemoReport {
  /** Seconds of media played. */
  readonly played: number;
  readonly stalls: number;
  readonly stallSeconds: number;
  /** Interruptions with data at hand: the decoder was late, on a busy machine. */
  readonly hitches: number;
  readonly hitchSeconds: number;
  /** Milliseconds until the first frame; none: not yet. */
  readonly startMs: number | null;
  /** Share of the downloaded bytes that came from viewers, 0 to 1. */
  readonly offload: number;
  readonly originBytes: number;
  readonly peerBytes: number;
  readonly uploadBytes: number;
  /** In the order of loading, the last {@link MAX_SEGMENTS}. */
  readonly segments: readonly SegmentRecord[];
  readonly ended: boolean;
  /** `source: message`, the last {@link MAX_ERRORS}. */
  readonly errors: readonly string[];
}

/** Segments remembered at most. */
export const MAX_SEGMENTS = 2000;
/** Errors remembered at most. */
export const MAX_ERRORS = 100;

/** A list that forgets its oldest entry when it is full. */
export class RecentList<T> {
  readonly #limit: number;
  readonly #items: T[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Oldest first, as a copy. */
  get items(): readonly T[] {
    return [...this.#items];
  }

  push(item: T): void {
    this.#items.push(item);
    if (this.#items.length > this.#limit) this.#items.shift();
  }
}
