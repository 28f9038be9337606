/**
 * How fast segments really come, from origin and peers together.
 *
 * The time from a request to its delivery says little here: a segment may wait for peers on purpose, or come out of memory.
 * What counts is the time in which bytes were on their way: while the origin answers, and between chunks of peers that follow
 * each other closely.
 */

/** Chunks of peers further apart than this are not one flow: nobody was asked in between. Milliseconds. */
const MAX_PEER_GAP_MS = 250;
/** A transfer of fewer bytes than this says nothing of the rate. */
const MIN_SAMPLE_BYTES = 16 * 1024;
/** Transfer time after which a sample counts for half. Milliseconds. */
const HALF_LIFE_MS = 4000;

/** What a fetch tells of its transfers. All times are milliseconds of `performance.now()`. @internal */
export interface TransferListener {
  /** A request to the origin was sent. */
  originStarted?(nowMs: number): void;
  /** The origin's status and headers came. */
  originAnswered?(nowMs: number): void;
  /** Bytes came. */
  received?(bytes: number, nowMs: number): void;
}

/** The transfers of one fetch. @internal */
export class Transfer {
  /** Bytes that came, from anywhere. */
  bytes = 0;
  /** Time in which bytes were on their way, milliseconds. */
  activeMs = 0;
  /** From the first request to the origin to its answer, milliseconds. */
  firstByteMs: number | undefined;
  #requests = 0;
  #askedMs = 0;
  #markMs = -Infinity;
  /** Who hears of it. */
  listener: TransferListener | undefined;

  constructor(listener?: TransferListener) {
    this.listener = listener;
  }

  /** A request to the origin was sent. */
  originStarted(nowMs: number): void {
    this.#advance(nowMs);
    this.#requests += 1;
    this.#askedMs = nowMs;
    this.listener?.originStarted?.(nowMs);
  }

  /** The origin's status and headers came. */
  originAnswered(nowMs: number): void {
    this.firstByteMs ??= nowMs - this.#askedMs;
    // Waiting for the first byte is latency, unless peers filled the time.
    if (this.#markMs <= this.#askedMs) this.#markMs = nowMs;
    else this.#advance(nowMs);
    this.listener?.originAnswered?.(nowMs);
  }

  /** A request to the origin is over. */
  originEnded(nowMs: number): void {
    this.#advance(nowMs);
    this.#requests = Math.max(0, this.#requests - 1);
  }

  /** Bytes came. */
  received(bytes: number, nowMs: number): void {
    this.#advance(nowMs);
    this.bytes += bytes;
    this.listener?.received?.(bytes, nowMs);
  }

  /** Whether the origin was asked and has not finished. */
  get originActive(): boolean {
    return this.#requests > 0;
  }

  #advance(nowMs: number): void {
    const gapMs = nowMs - this.#markMs;
    if (this.#requests > 0 || gapMs <= MAX_PEER_GAP_MS) this.activeMs += gapMs;
    this.#markMs = nowMs;
  }

  /** Bytes a millisecond while it was active, or undefined if too little came to say. */
  get bytesPerMs(): number | undefined {
    return this.bytes >= MIN_SAMPLE_BYTES ? this.bytes / Math.max(1, this.activeMs) : undefined;
  }
}

/** The rate over all transfers, recent ones first. @internal */
export class Throughput {
  #bytesPerMs = 0;
  #weight = 0;

  /** Takes a finished transfer. */
  add(transfer: Transfer): void {
    const { bytesPerMs } = transfer;
    if (bytesPerMs === undefined) return;
    const keep = 0.5 ** (Math.max(1, transfer.activeMs) / HALF_LIFE_MS);
    this.#bytesPerMs = this.#bytesPerMs * keep + bytesPerMs * (1 - keep);
    this.#weight = this.#weight * keep + (1 - keep);
  }

  /** Bytes a millisecond, or undefined before the first transfer. */
  get bytesPerMs(): number | undefined {
    return this.#weight > 0 ? this.#bytesPerMs / this.#weight : undefined;
  }
}
