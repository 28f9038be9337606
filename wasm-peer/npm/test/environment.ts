/**
 * A page's environment in Node, as far as the tests go: the real module and real HTTP, P2P off. RTCPeerConnection and
 * WebSocket have to be there for a page to count as able to share; nothing here makes one.
 */

import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

class NeverMade {
  constructor() {
    throw new Error('P2P is off in these tests');
  }
}

/** Makes Node look like a browser that could share. */
export function pretendBrowser(): void {
  const scope = globalThis as Record<string, unknown>;
  scope['self'] ??= globalThis;
  scope['RTCPeerConnection'] ??= NeverMade;
  scope['WebSocket'] ??= NeverMade;
}

/** A request that the origin answered. */
export interface Seen {
  readonly path: string;
  readonly query: string;
  readonly range: string | undefined;
  readonly headers: IncomingMessage['headers'];
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An origin on the loopback interface, with the wasm module at `/tabswarm_bg.wasm`. */
export class Origin {
  readonly #server: Server;
  readonly #answers = new Map<string, Answer>();
  readonly #files = new Map<string, Uint8Array>();
  /** Every request but the module's, in order. */
  readonly seen: Seen[] = [];

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<Origin> {
    const origin = new Origin();
    await new Promise<void>((resolve) => origin.#server.listen(0, '127.0.0.1', resolve));
    const module = fileURLToPath(new URL('../generated/tabswarm_bg.wasm', import.meta.url));
    origin.#answers.set('/tabswarm_bg.wasm', (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/wasm' }).end(readFileSync(module));
    });
    return origin;
  }

  url(path: string): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`;
  }

  /** Serves bytes, with ranges. */
  serve(path: string, bytes: Uint8Array): void {
    this.#files.set(path, bytes);
  }

  /** Answers a path by hand. */
  answer(path: string, answer: Answer): void {
    this.#answers.set(path, answer);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, search } = new URL(request.url ?? '', 'http://origin');
    const { range } = request.headers;
    if (pathname !== '/tabswarm_bg.wasm') this.seen.push({ path: pathname, query: search, range, headers: request.headers });
    const answer = this.#answers.get(pathname);
    if (answer) return answer(request, response);
    const bytes = this.#files.get(pathname);
    if (!bytes) return void response.writeHead(404).end('no such file');
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
    if (first === undefined) return void response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    const part = bytes.subarray(Number(first), Number(last) + 1);
    const headers = { 'content-length': part.length, 'content-range': `bytes ${first}-${last}/${bytes.length}` };
    response.writeHead(206, headers).end(part);
  }
}

/** Bytes that differ everywhere. */
export function pattern(length: number, seed = 1): Uint8Array {
  let state = seed;
  return Uint8Array.from({ length }, () => (state = (state * 48_271) % 2_147_483_647) & 255);
}

/** Waits until something is so; fails after a while that no machine needs. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited too long: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
