// @ts-check
/** A line of one rate that many share. */

import { setTimeout as delay } from 'node:timers/promises';

/**
 * Lets pieces pass one after the other, in the order they were asked for: connections that ask for a piece at a time share
 * the line evenly.
 */
export class Cap {
  #bytesPerMs;
  #now;
  #wait;
  /** When the line is free again. */
  #freeMs = 0;

  /**
   * @param {number} bytesPerSecond
   * @param {{ now?: () => number, wait?: (ms: number) => Promise<unknown> }} [clock] monotonic milliseconds
   */
  constructor(bytesPerSecond, { now = () => performance.now(), wait = delay } = {}) {
    this.#bytesPerMs = bytesPerSecond / 1000;
    this.#now = now;
    this.#wait = wait;
  }

  /**
   * Waits until so many bytes have passed.
   * @param {number} bytes
   */
  async take(bytes) {
    this.#freeMs = Math.max(this.#freeMs, this.#now()) + bytes / this.#bytesPerMs;
    await this.#wait(this.#freeMs - this.#now());
  }
}
