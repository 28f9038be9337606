/** Rates out of running totals, for whoever asks for statistics now and then. */

/** A rate is taken over at least this time, so that asking often doesn't make it jump. Milliseconds. */
const WINDOW_MS = 1000;

interface Sample {
  readonly atMs: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Bytes a second in both directions. @internal */
export class RateMeter {
  /** Received. */
  inBps = 0;
  /** Sent. */
  outBps = 0;
  #older: Sample | undefined;
  #newer: Sample | undefined;

  /** Takes totals. Each window is measured against the sample before it. */
  update(bytesIn: number, bytesOut: number, nowMs: number): void {
    const sample = { atMs: nowMs, bytesIn, bytesOut };
    this.#newer ??= sample;
    if (nowMs - this.#newer.atMs >= WINDOW_MS) {
      this.#older = this.#newer;
      this.#newer = sample;
    }
    const since = this.#older ?? this.#newer;
    const seconds = (nowMs - since.atMs) / 1000;
    if (seconds <= 0) return;
    this.inBps = (bytesIn - since.bytesIn) / seconds;
    this.outBps = (bytesOut - since.bytesOut) / seconds;
  }
}
