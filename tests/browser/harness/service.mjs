// @ts-check
/** The built signaling service as a process of its own, to be killed and started again. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { binary } from './paths.mjs';
import { until } from './wait.mjs';

/** A port nobody listens on: the service has to come back on the same one. */
async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (probe.address());
  probe.close();
  await once(probe, 'close');
  return port;
}

/** The service. */
export class Service {
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process;
  /** @type {string[]} */
  #args;
  #port;
  /** The last lines of the process's output. @type {string[]} */
  log = [];

  /** @param {number} port @param {string[]} args */
  constructor(port, args) {
    this.#port = port;
    this.#args = args;
  }

  /**
   * Starts the service and waits until it answers.
   * @param {string[]} args the subcommand and its options, besides `--listen`
   */
  static async start(args) {
    const service = new Service(await freePort(), args);
    await service.run();
    return service;
  }

  /** Base URL without a trailing slash. */
  get url() {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** What a page is told as `signaling`. */
  get signaling() {
    return `ws://127.0.0.1:${this.#port}/swarm`;
  }

  /** Starts the process, again if it was killed, with the same port and state. */
  async run() {
    const args = [...this.#args, '--listen', `127.0.0.1:${this.#port}`];
    const process = spawn(binary('tabswarm-signaling'), args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = process;
    for (const stream of [process.stdout, process.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => (this.log = [...this.log, text].slice(-50)));
    }
    await until(
      `the service answers on port ${this.#port}`,
      async () => {
        if (process.exitCode !== null) throw new Error(`the service ended: ${this.log.join('')}`);
        return (await this.health()) !== undefined;
      },
      { dump: () => this.log },
    );
  }

  /** What `/healthz` says, if anything. @returns {Promise<any>} */
  async health() {
    try {
      const response = await fetch(`${this.url}/healthz`);
      return response.ok ? await response.json() : undefined;
    } catch {
      return undefined;
    }
  }

  /** Kills the process as a crash would, and waits until it is gone. */
  async kill() {
    const process = this.#process;
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    process.kill('SIGKILL');
    await once(process, 'exit');
  }
}
