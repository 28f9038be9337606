/** The chart's data: running totals of bytes turned into a bounded row of one-second rates. */

/** Bytes since the page was opened. */
export interface Totals {
  readonly originBytes: number;
  readonly peerBytes: number;
  readonly uploadBytes: number;
}

/** Mean rates over one bin, in bytes per second. */
export interface Bin {
  readonly origin: number;
  readonly peers: number;
  readonly upload: number;
}

/** Length of one bin. */
export const BIN_MS = 1000;
/** Bins kept and drawn: two minutes. */
export const MAX_BINS = 120;

/** Rates over the last {@link MAX_BINS} bins. Call {@link RateSeries.push} about once per bin. */
export class RateSeries {
  readonly #capacity: number;
  readonly #bins: Bin[] = [];
  #last: { totals: Totals; atMs: number } | undefined;

  constructor(capacity = MAX_BINS) {
    this.#capacity = capacity;
  }

  /** Oldest first; never longer than the capacity. */
  get bins(): readonly Bin[] {
    return this.#bins;
  }

  /** Takes the totals at `nowMs` (monotonic). The first call only sets the base line. */
  push(totals: Totals, nowMs: number): void {
    const last = this.#last;
    if (!last) {
      this.#last = { totals, atMs: nowMs };
      return;
    }
    const elapsedMs = nowMs - last.atMs;
    if (elapsedMs < BIN_MS / 2) return;
    this.#last = { totals, atMs: nowMs };
    const rate = (key: keyof Totals): number => (Math.max(0, totals[key] - last.totals[key]) * 1000) / elapsedMs;
    const bin: Bin = { origin: rate('originBytes'), peers: rate('peerBytes'), upload: rate('uploadBytes') };
    // A hidden tab's timer comes late: the missed seconds get the mean, so that the time axis stays true.
    const missed = Math.min(this.#capacity, Math.max(1, Math.round(elapsedMs / BIN_MS)));
    for (let i = 0; i < missed; i += 1) this.#bins.push(bin);
    this.#bins.splice(0, Math.max(0, this.#bins.length - this.#capacity));
  }
}

/** The smallest 1, 2 or 5 times a power of ten that is not below `value`, and not below `floor`. */
export function niceCeiling(value: number, floor: number): number {
  const wanted = Math.max(value, floor);
  const power = 10 ** Math.floor(Math.log10(wanted));
  const factor = [1, 2, 5].find((step) => step * power >= wanted * (1 - 1e-9)) ?? 10;
  return factor * power;
}
