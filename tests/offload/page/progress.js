// @ts-check
/**
 * How a picture moves on, from looks at its position: `HTMLMediaElement.played` begins anew when a player recovers from an
 * error by attaching its media again.
 */

/** Between two looks at most this more than the time between them is playback, the rest of it is a jump. Seconds. */
const TOLERANCE = 0.5;

/** Follows one viewer's position at normal speed. */
export class Progress {
  /** Seconds that were played. */
  playedSeconds = 0;
  /** Seconds of the stream that were jumped over and not come back to. */
  skippedSeconds = 0;
  /** When the position was last seen to move, monotonic. */
  movedMs;
  #position;
  #furthest;
  #lookedMs;

  /** @param {number} position of the first frame, seconds @param {number} nowMs */
  constructor(position, nowMs) {
    this.#position = this.#furthest = position;
    this.#lookedMs = this.movedMs = nowMs;
  }

  /**
   * @param {number} position
   * @param {number} nowMs
   * @returns {boolean} whether it moved
   */
  look(position, nowMs) {
    const moved = position - this.#position;
    const mayMove = (nowMs - this.#lookedMs) / 1000 + TOLERANCE;
    if (moved > 0 && moved <= mayMove) this.playedSeconds += moved;
    else this.skippedSeconds += Math.max(0, position - this.#furthest);
    this.#furthest = Math.max(this.#furthest, position);
    this.#position = position;
    this.#lookedMs = nowMs;
    if (moved !== 0) this.movedMs = nowMs;
    return moved !== 0;
  }
}
