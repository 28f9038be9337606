// @ts-check
/** The built signaling service as a process of its own, to be killed and started again. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { binary } from './paths.mjs';
import { until } from './wait.mjs';

/** The service. */
export class Service {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process;
  /** @type {string[]} */
  #args;
  /** Where it listens: on a port of its choice first, from then on always on that. */
  #address = '127.0.0.1:0';
  /** The last lines of the process's log. @type {string[]} */
  log = [];

  /** @param {string[]} args */
  constructor(args) {
    this.#args = args;
  }

  /**
   * Starts the service and waits until it listens.
   * @param {string[]} args the subcommand and its options, besides `--listen`
   */
  static async start(args) {
    const service = new Service(args);
    await service.run();
    return service;
  }

  /** Base URL without a trailing slash. */
  get url() {
    return `http://${this.#address}`;
  }

  /** What a page is told as `signaling`. */
  get signaling() {
    return `ws://${this.#address}/swarm`;
  }

  /** Starts the process, again if it was killed, with the same port and state. */
  async run() {
    // While it was gone, a connection of anybody's may have been given its port for a moment.
    await until('the service listens', () => this.#listens(), { dump: () => this.log });
  }

  /** Starts the process and says whether it could have its port. */
  async #listens() {
    const process = spawn(binary('tabswarm-signaling'), [...this.#args, '--listen', this.#address], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = process;
    this.log = [];
    process.stderr.setEncoding('utf8').on('data', (text) => (this.log = [...this.log, text].slice(-50)));
    const closed = once(process, 'close');
    // Its first line is its address, printed when it has the port.
    for await (const line of createInterface(process.stdout)) {
      this.#address = new URL(line).host;
      return true;
    }
    await closed;
    const log = this.log.join('');
    if (!log.includes('Address already in use')) throw new Error(`the service ended: ${log}`);
    return false;
  }

  /** Kills the process as a crash would, and waits until it is gone. */
  async kill() {
    const process = this.#process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    process.kill('SIGKILL');
    await once(process, 'exit');
  }
}
