/** One segment on its way: asked of the peers' engine, or of the origin alone where there is no engine. */

import { EarlyAnswer, type Whole } from './early.js';
import { makePart, plainFetch } from './http.js';
import type { ByteRange } from './keys.js';
import { Transfer, type TransferListener } from './transfer.js';

/** What is to be fetched. @internal */
export interface LoadRequest {
  readonly url: URL;
  /** The bytes of the file that are the segment; all without one. */
  readonly range: ByteRange | undefined;
  /** How the origin is asked: headers without `Range`, credentials, mode. */
  readonly init: RequestInit;
  /** Milliseconds from now until the bytes are needed. */
  readonly deadlineMs: number | undefined;
  /** URL of the stream's master playlist, where the caller knows it. */
  readonly playlist?: string | undefined;
  /** Nobody has asked for it yet: if it can be verified it goes into the store only. */
  readonly isAhead?: boolean | undefined;
}

/** A segment. @internal */
export interface Delivered {
  readonly kind: 'delivered';
  readonly status: number;
  /** For whoever asked to keep, change or give away. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly verified: boolean;
  readonly originBytes: number;
  readonly peerBytes: number;
  readonly diskBytes: number;
  readonly peers: readonly string[];
  readonly tookMs: number;
}

/** No segment; `status` is 0 unless the origin answered with one. @internal */
export interface Failed {
  readonly kind: 'failed';
  readonly code: string;
  readonly status: number;
}

/** Nobody waits for it any more. @internal */
export interface Aborted {
  readonly kind: 'aborted';
  readonly reason: unknown;
}

/** How a load ends. @internal */
export type Outcome = Delivered | Failed | Aborted;

/** What carries a load out. @internal */
export interface Carrier {
  cancel(load: Load): void;
  setDeadline(load: Load, deadlineMs: number): void;
}

/** A fetch of one segment. Its outcome never rejects. @internal */
export class Load {
  readonly request: LoadRequest;
  readonly transfer: Transfer;
  readonly outcome: Promise<Outcome>;
  /** The engine's number for it, while the engine carries it out. */
  id: number | undefined;
  readonly #carrier: Carrier;
  readonly #startedMs = performance.now();
  #abort = new AbortController();
  #early: EarlyAnswer | undefined;
  /** What came of that, and was counted. */
  #earlyBytes = 0;
  /** What the origin has answered to another load of the same. */
  #kept: Uint8Array<ArrayBuffer> | undefined;
  #isAhead: boolean;
  #isStored = false;
  #deadlineAtMs: number | undefined;
  #settle!: (outcome: Outcome) => void;
  #done = false;

  constructor(request: LoadRequest, carrier: Carrier, listener?: TransferListener) {
    this.request = request;
    this.transfer = new Transfer(listener);
    this.#carrier = carrier;
    this.#isAhead = request.isAhead ?? false;
    if (request.deadlineMs !== undefined) this.#deadlineAtMs = this.#startedMs + request.deadlineMs;
    this.outcome = new Promise((resolve) => (this.#settle = resolve));
  }

  /** Whether the outcome is known. */
  get done(): boolean {
    return this.#done;
  }

  /** Whether nobody has asked for it yet. */
  get isAhead(): boolean {
    return this.#isAhead;
  }

  /** It is complete, and stays in the store until somebody asks. */
  stay(): void {
    this.#isStored = true;
  }

  /** Somebody asks for what was loaded ahead; false if it has to be loaded anew, from the store as a rule. */
  adopt(): boolean {
    this.#isAhead = false;
    return !this.#isStored;
  }

  /** Milliseconds from now until the bytes are needed. */
  get deadlineMs(): number | undefined {
    return this.#deadlineAtMs === undefined ? undefined : Math.max(0, this.#deadlineAtMs - performance.now());
  }

  /** Moves the deadline to so many milliseconds from now. */
  setDeadline(deadlineMs: number): void {
    this.#deadlineAtMs = performance.now() + deadlineMs;
    if (!this.#done) this.#carrier.setDeadline(this, deadlineMs);
  }

  /** Asks the origin for all of it, before it is known who carries the load out. */
  askEarly(): void {
    this.transfer.originStarted(performance.now());
    this.#early = new EarlyAnswer(this.#askOrigin(), {
      answered: () => this.transfer.originAnswered(performance.now()),
      received: (bytes) => {
        this.#earlyBytes += bytes;
        this.transfer.received(bytes, performance.now());
      },
    });
  }

  /** The origin's bytes came to whoever carries the load out; it may have read again what was read before. */
  receivedFromOrigin(bytes: number): void {
    const again = Math.min(bytes, this.#earlyBytes);
    this.#earlyBytes -= again;
    if (bytes > again) this.transfer.received(bytes - again, performance.now());
  }

  /** Whether the origin is not asked, as it has answered another load. */
  get isCopy(): boolean {
    return this.#kept !== undefined;
  }

  /**
   * Its outcome is what was asked early, unchecked, if that is complete before anybody carries the load out; and a load of the same
   * out of those bytes, for whoever is to check them.
   */
  async finishEarly(): Promise<{ delivered: Delivered; copy: Load } | undefined> {
    const whole = await this.#early?.complete;
    if (!whole || this.#done || !this.#isAsked(whole)) return undefined;
    this.#early = undefined;
    this.transfer.originEnded(performance.now());
    const copy = new Load({ ...this.request, deadlineMs: 0, isAhead: true }, this.#carrier);
    // What is delivered is no longer ours.
    copy.#kept = whole.bytes.slice();
    return { delivered: this.#deliver(whole.status, whole.bytes), copy };
  }

  /** The origin's answer to what was asked early, for who would ask for the same; once. Its body ends with the signal. */
  takeEarly(range: string | undefined, signal: AbortSignal): Promise<Response> | undefined {
    const { url, range: whole } = this.request;
    if (this.#kept) return Promise.resolve(makePart(url.href, this.#kept, whole?.start ?? 0, range));
    const early = this.#early;
    if (!early || range !== this.#range) return undefined;
    this.#early = undefined;
    // From here on it is the engine's, which may have others who want it.
    const abort = this.#abort;
    this.#abort = new AbortController();
    signal.addEventListener('abort', () => abort.abort(), { once: true });
    return early.take();
  }

  /** Gives it up. */
  cancel(reason: unknown): void {
    if (this.#done) return;
    this.finish({ kind: 'aborted', reason });
    this.#carrier.cancel(this);
    this.#abort.abort();
  }

  /** Sets the outcome; only the first counts. */
  finish(outcome: Outcome): void {
    if (this.#done) return;
    this.#done = true;
    // Asked for in vain.
    if (this.#early) this.#abort.abort();
    this.#isStored ||= this.#isAhead && outcome.kind !== 'delivered';
    this.#settle(outcome);
  }

  /** Fetches it from the origin alone, as a player without this package would. */
  async fetchPlainly(): Promise<void> {
    if (this.#isAhead) return this.finish({ kind: 'aborted', reason: undefined });
    const { transfer } = this;
    const early = this.#early;
    this.#early = undefined;
    if (!early) transfer.originStarted(performance.now());
    try {
      const response = await (early?.take() ?? this.#askOrigin());
      transfer.originAnswered(performance.now());
      if (!response.ok) return this.finish({ kind: 'failed', code: 'status', status: response.status });
      const bytes = new Uint8Array(await response.arrayBuffer());
      this.receivedFromOrigin(bytes.length);
      this.#deliver(response.status, bytes);
    } catch {
      this.finish({ kind: 'failed', code: 'network', status: 0 });
    } finally {
      transfer.originEnded(performance.now());
    }
  }

  /** Whether that is what was asked for. A server that ignores ranges is the engine's matter. */
  #isAsked({ status, bytes }: Whole): boolean {
    const { range } = this.request;
    return range === undefined || (status === 206 && bytes.length === range.end - range.start);
  }

  #deliver(status: number, bytes: Uint8Array<ArrayBuffer>): Delivered {
    const tookMs = performance.now() - this.#startedMs;
    const sources = { originBytes: bytes.length, peerBytes: 0, diskBytes: 0, peers: [] };
    const delivered = { kind: 'delivered', status, bytes, verified: false, ...sources, tookMs } as const;
    this.finish(delivered);
    return delivered;
  }

  get #range(): string | undefined {
    const { range } = this.request;
    return range && `bytes=${range.start}-${range.end - 1}`;
  }

  #askOrigin(): Promise<Response> {
    const { url, init } = this.request;
    const headers = new Headers(init.headers);
    if (this.#range !== undefined) headers.set('range', this.#range);
    return plainFetch(url, { ...init, headers, signal: this.#abort.signal });
  }
}
