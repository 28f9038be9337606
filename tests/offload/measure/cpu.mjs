// @ts-check
/** CPU time of a browser's processes, and of everything else on the machine meanwhile, from /proc. */

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

const SAMPLE_INTERVAL_MS = 1000;
/** Threads are looked at once in so many samples: there are many. */
const SAMPLES_A_LOOK = 10;
/** Chromium's thread that decodes, in each tab. */
const DECODER = 'Media';

/**
 * CPU seconds of a process so far, from the text of its `/proc/<pid>/stat`, or of a thread.
 * @param {string} stat
 * @param {number} ticksPerSecond
 */
export function processSeconds(stat, ticksPerSecond) {
  // The command's name may hold spaces and brackets: fields are counted from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system] = [Number(fields[11]), Number(fields[12])];
  return (user + system) / ticksPerSecond;
}

/**
 * Seconds that all processors together were not idle so far, from the text of `/proc/stat`.
 * @param {string} stat
 * @param {number} ticksPerSecond
 */
export function busySeconds(stat, ticksPerSecond) {
  const [user, nice, system, , , irq, softirq, steal] = stat.split('\n', 1)[0].trim().split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq + steal) / ticksPerSecond;
}

/**
 * CPU seconds that a process has spent on decoding so far.
 * @param {number} pid
 */
function decoderSeconds(pid) {
  const stats = readdirSync(`/proc/${pid}/task`).map((thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8'));
  const decoders = stats.filter((stat) => threadName(stat) === DECODER);
  return decoders.reduce((sum, stat) => sum + processSeconds(stat, TICKS_PER_SECOND), 0);
}

/** The name in the text of a process's or thread's `stat`. @param {string} stat */
export const threadName = (stat) => stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));

/** `sysconf(_SC_CLK_TCK)`, the unit of /proc's times. */
const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

const busyNow = () => busySeconds(readFileSync('/proc/stat', 'utf8'), TICKS_PER_SECOND);

const IDLE_SAMPLE_MS = 500;
/** Processors that may be busy on a machine that counts as idle. */
const IDLE_CORES = 0.2;

/** Waits until the machine is idle, as after tabs were opened, but no longer than this. @param {number} limitMs */
export async function idle(limitMs) {
  const endMs = performance.now() + limitMs;
  for (let cores = Infinity; cores > IDLE_CORES && performance.now() < endMs; ) {
    const [began, before] = [performance.now(), busyNow()];
    await delay(IDLE_SAMPLE_MS);
    cores = ((busyNow() - before) * 1000) / (performance.now() - began);
  }
}

/**
 * @typedef {object} CpuTimes
 * @property {number} rendererSeconds
 * @property {number} decoderSeconds of those, what decoding took
 * @property {number} browserSeconds of all processes of the browser, the renderers among them
 * @property {number} otherCores processors that were busy with anything but the browser and this process, on average
 * @property {number} cores
 */

/** Watches one browser from `start` to `stop`. */
export class CpuMeter {
  /** @type {Map<number, { type: string, first: number, last: number, decoder: number }>} by process id */
  #processes = new Map();
  #samples = 0;
  #began = { busy: 0, own: 0, ms: 0 };
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {import('playwright-core').CDPSession} session of the browser */
  constructor(session) {
    this.session = session;
  }

  async start() {
    await this.#sample();
    this.#began = { busy: busyNow(), own: process.cpuUsage().user + process.cpuUsage().system, ms: performance.now() };
    for (const one of this.#processes.values()) one.first = one.last;
    this.#timer = setInterval(() => void this.#sample().catch(() => undefined), SAMPLE_INTERVAL_MS);
  }

  /** @returns {Promise<CpuTimes>} */
  async stop() {
    clearInterval(this.#timer);
    this.#samples = 0;
    await this.#sample();
    const used = [...this.#processes.values()].map(({ type, first, last }) => ({ type, seconds: last - first }));
    const sum = (/** @type {typeof used} */ list) => list.reduce((total, { seconds }) => total + seconds, 0);
    const own = (process.cpuUsage().user + process.cpuUsage().system - this.#began.own) / 1e6;
    const elapsed = (performance.now() - this.#began.ms) / 1000;
    const browserSeconds = sum(used);
    return {
      rendererSeconds: sum(used.filter(({ type }) => type === 'renderer')),
      decoderSeconds: [...this.#processes.values()].reduce((total, { decoder }) => total + decoder, 0),
      browserSeconds,
      otherCores: Math.max(0, (busyNow() - this.#began.busy - browserSeconds - own) / elapsed),
      cores: availableParallelism(),
    };
  }

  async #sample() {
    const { processInfo } = await this.session.send('SystemInfo.getProcessInfo');
    const looks = this.#samples++ % SAMPLES_A_LOOK === 0;
    for (const { id, type } of processInfo) {
      const known = this.#processes.get(id) ?? { type, first: 0, last: 0, decoder: 0 };
      this.#processes.set(id, known);
      try {
        known.last = processSeconds(readFileSync(`/proc/${id}/stat`, 'utf8'), TICKS_PER_SECOND);
        if (looks && type === 'renderer') known.decoder = decoderSeconds(id);
      } catch {
        // It has ended since: what it had used when it was last looked at stands.
      }
    }
  }
}
