// @ts-check
/** The highest rate of what comes in pieces. */

/** Looks at the last second at each piece. */
export class PeakRate {
  /** @type {{ atMs: number, bytes: number }[]} */
  #recent = [];
  #sum = 0;
  /** Most bytes within one second so far. */
  peakBytes = 0;

  /** @param {number} bytes @param {number} atMs monotonic */
  add(bytes, atMs) {
    this.#recent.push({ atMs, bytes });
    this.#sum += bytes;
    while (this.#recent[0].atMs <= atMs - 1000) this.#sum -= this.#recent.shift()?.bytes ?? 0;
    this.peakBytes = Math.max(this.peakBytes, this.#sum);
  }
}
