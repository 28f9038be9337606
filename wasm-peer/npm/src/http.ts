/** Plain HTTP: what a page gets without peers. */

/** Options of `Tabswarm.fetch`: those of `fetch`, and when the bytes are needed. */
export interface TabswarmRequestInit extends RequestInit {
  /**
   * Milliseconds from now until the player needs the bytes; 0 is at once.
   * @default 2000
   */
  deadlineMs?: number;
  /**
   * URL of the master playlist of the stream that the segment belongs to, where several are open.
   * @default the open stream whose directory the URL is in, or the one opened last
   */
  playlist?: string;
}

/** The options that `fetch` knows. @internal */
export function plainInit(init: TabswarmRequestInit): RequestInit {
  const { deadlineMs: _deadlineMs, playlist: _playlist, ...plain } = init;
  return plain;
}

/** `fetch`, as the page has it now. @internal */
export function plainFetch(input: string | URL, init: RequestInit): Promise<Response> {
  return globalThis.fetch(input, init);
}

/** A limit to how long something may take; to be cleared when it is over. @internal */
export class TimeLimit {
  readonly #abort = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  /** Rejects when the time is up. */
  readonly passed: Promise<never>;

  constructor(limitMs: number) {
    const { signal } = this.#abort;
    this.passed = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));
    this.passed.catch(() => undefined);
    this.#timer = setTimeout(() => this.#abort.abort(new Error(`not there after ${limitMs} ms`)), limitMs);
  }

  /** Aborts when the time is up. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  clear(): void {
    clearTimeout(this.#timer);
  }

  /** Aborts now. */
  end(reason: unknown): void {
    this.clear();
    this.#abort.abort(reason);
  }
}

const NULL_BODY_STATUSES: ReadonlySet<number> = new Set([204, 205, 304]);

/** Bytes of the body that a reader of it gets at a time. */
const CHUNK = 256 * 1024;

/** What a finished fetch becomes for the page. @internal */
export function makeResponse(url: string, status: number, bytes: Uint8Array<ArrayBuffer>, start: number | undefined): Response {
  const headers = new Headers({ 'content-length': String(bytes.length), 'content-type': 'application/octet-stream' });
  if (status === 206 && start !== undefined && bytes.length > 0) {
    headers.set('content-range', `bytes ${start}-${start + bytes.length - 1}/*`);
  }
  const response = new Response(NULL_BODY_STATUSES.has(status) ? null : copies(bytes), { status, headers });
  return Object.defineProperties(response, {
    // A constructed response has no URL of its own.
    url: { value: url },
    // All at once is one copy instead of the browser's several, half of the time and less.
    arrayBuffer: { value: async () => takeCopy(response, bytes).buffer },
    bytes: { value: async () => takeCopy(response, bytes) },
  });
}

/** A file's answer to a request, with the header `Range` or without, of which these bytes are there, from `offset` on. @internal */
export function makePart(url: string, bytes: Uint8Array<ArrayBuffer>, offset: number, range: string | undefined): Response {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? [];
  if (first === undefined) return makeResponse(url, 200, bytes, undefined);
  const start = Number(first);
  return makeResponse(url, 206, bytes.subarray(start - offset, Number(last) + 1 - offset), start);
}

/** The bytes for whoever reads them, who may do with them what he likes: copied when they are read, not before. */
function copies(bytes: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  let at = 0;
  const pull = (controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>) => {
    if (at < bytes.length) controller.enqueue(bytes.slice(at, (at += CHUNK)));
    if (at >= bytes.length) controller.close();
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}

/** A copy of the response's body, which counts as read from then on. */
function takeCopy(response: Response, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (response.bodyUsed || response.body?.locked) throw new TypeError('the body was read before');
  if (!response.body) return new Uint8Array(0);
  void response.body.cancel();
  return bytes.slice();
}
