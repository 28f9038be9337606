/** The class that a page uses. */

import { moduleError, TabswarmError } from './errors.js';
import type { TabswarmEventMap } from './events.js';
import { makeResponse, plainFetch, plainInit, type TabswarmRequestInit } from './http.js';
import { absoluteUrl, parseRange } from './keys.js';
import type { LoadRequest } from './load.js';
import { isSupported } from './module.js';
import { resolveOptions, type TabswarmOptions } from './options.js';
import { Session } from './session.js';
import type { TabswarmStats } from './stats.js';

const sessions = new WeakMap<Tabswarm, Session>();

/** The session behind an instance, for the players' adapters. @internal */
export function sessionOf(swarm: Tabswarm): Session {
  const session = sessions.get(swarm);
  if (!session) throw new TabswarmError('destroyed', 'made without Tabswarm.create()');
  return session;
}

/** What a listener of an event is. */
export type TabswarmListener<K extends keyof TabswarmEventMap> =
  | ((event: TabswarmEventMap[K]) => void)
  | { handleEvent(event: TabswarmEventMap[K]): void };

/**
 * One viewer of one or more streams. Made with {@link Tabswarm.create}; ended with {@link Tabswarm.destroy}.
 *
 * Whatever fails, segments go on coming over plain HTTP: there is no state in which a page plays worse with an instance
 * than without.
 */
export class Tabswarm extends EventTarget {
  /** What a listener was ever added for: chunks come by the thousand, and an event for nobody costs as much as one. */
  readonly #heard = new Set<string>();

  /** Use {@link Tabswarm.create}. */
  protected constructor() {
    super();
  }

  /**
   * Makes an instance; the module loads meanwhile. Where wasm or WebRTC is missing or can't be loaded it is one that fetches over
   * HTTP: `stats().mode` is then `'http'`, and `error` and `state` events say so.
   *
   * @throws TabswarmError `invalid-option` for an option that can't be right; nothing else.
   */
  static async create<T extends Tabswarm>(this: { readonly prototype: T }, options: TabswarmOptions = {}): Promise<T> {
    const resolved = resolveOptions(options);
    // The constructor is protected, so that nobody has an instance without a session.
    const swarm = new (this as unknown as new () => T)();
    const session = new Session(resolved, (type, detail) => {
      if (swarm.#heard.has(type)) swarm.dispatchEvent(new CustomEvent(type, { detail }));
    });
    sessions.set(swarm, session);
    session.start();
    return swarm;
  }

  /** Whether this environment has what sharing needs: WebAssembly, WebRTC and WebSocket. */
  static isSupported(): boolean {
    return isSupported();
  }

  /**
   * Fetches a segment, from peers as far as they have it in time. Takes a URL, not a `Request`, and the options of `fetch`; a
   * `Range` header with one closed range asks for a byte-range segment. What can be no segment goes to the page's `fetch` as it
   * is: other methods than GET, requests with a body, other ranges.
   *
   * @returns a `Response` as `fetch` gives it. Of a segment of an open stream the type is always `application/octet-stream`,
   * and an error's body is empty; any other, and each without peers to be had, is the page's `fetch`'s own.
   * @throws TabswarmError `network`, `mismatch`, `invalid-url`, `destroyed`; the signal's reason when that aborts.
   */
  async fetch(url: string | URL, init: TabswarmRequestInit = {}): Promise<Response> {
    const session = sessionOf(this);
    session.checkAlive();
    const plain = plainInit(init);
    const request = segmentRequest(absoluteUrl(url), init, plain);
    const { signal } = init;
    signal?.throwIfAborted();
    if (!request) return plainFetch(url, plain);
    const load = session.load(request);
    if (!load) return plainSegment(url, plain);
    const abort = () => load.cancel(signal?.reason);
    signal?.addEventListener('abort', abort, { once: true });
    const outcome = await load.outcome;
    signal?.removeEventListener('abort', abort);
    if (outcome.kind === 'aborted') throw outcome.reason;
    const { href } = load.request.url;
    if (outcome.kind === 'delivered') {
      return makeResponse(href, outcome.status, outcome.bytes, load.request.range?.start);
    }
    if (outcome.code === 'status') return makeResponse(href, outcome.status, new Uint8Array(0), undefined);
    throw moduleError(outcome.code);
  }

  /**
   * Joins the swarm of a stream; `attach` does it for a player. Opening a stream that is open does nothing;
   * one that could not be joined is tried again.
   *
   * @param playlistUrl the master playlist, absolute or relative to the page.
   * @throws TabswarmError `manifest`, `manifest-unavailable`, `insecure-manifest`, `publisher-key`, `stream-name`,
   * `too-many-streams`, `invalid-url`, `destroyed`: its segments then come over HTTP.
   */
  open(playlistUrl: string): Promise<void> {
    const session = sessionOf(this);
    session.begin();
    return session.open(playlistUrl);
  }

  /** Counters, and what is so now. Connections' candidate types and round-trip times are up to a second old. */
  stats(): TabswarmStats {
    return sessionOf(this).stats();
  }

  /** Switches P2P on; with `consent: 'manual'` nothing is connected before. */
  enable(): void {
    sessionOf(this).setP2p(true);
  }

  /** Switches P2P off: peers and service are left, segments come over HTTP. */
  disable(): void {
    sessionOf(this).setP2p(false);
  }

  /** Leaves everything, gives attached players their own loaders back, and rejects what is still being fetched. */
  destroy(): void {
    sessionOf(this).destroy();
  }

  /** As `EventTarget`'s, with each event's own type. */
  override addEventListener<K extends keyof TabswarmEventMap>(
    type: K,
    listener: TabswarmListener<K> | null,
    options?: boolean | AddEventListenerOptions,
  ): void {
    this.#heard.add(type);
    super.addEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }

  /** As `EventTarget`'s, with each event's own type. */
  override removeEventListener<K extends keyof TabswarmEventMap>(
    type: K,
    listener: TabswarmListener<K> | null,
    options?: boolean | EventListenerOptions,
  ): void {
    super.removeEventListener(type, listener as EventListenerOrEventListenerObject | null, options);
  }
}

/** The page's own fetch, its failure with a code. */
async function plainSegment(url: string | URL, init: RequestInit): Promise<Response> {
  try {
    return await plainFetch(url, init);
  } catch (cause) {
    init.signal?.throwIfAborted();
    throw moduleError('network', { cause });
  }
}

/** The segment that a request asks for; undefined if it can't be one. */
function segmentRequest(url: URL, init: TabswarmRequestInit, plain: RequestInit): LoadRequest | undefined {
  if ((init.method ?? 'GET').toUpperCase() !== 'GET' || (init.body !== undefined && init.body !== null)) return undefined;
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return undefined;
  const headers = new Headers(init.headers);
  const rangeHeader = headers.get('range');
  const range = rangeHeader === null ? undefined : parseRange(rangeHeader);
  if (rangeHeader !== null && !range) return undefined;
  headers.delete('range');
  const { method: _method, body: _body, signal: _signal, ...rest } = plain;
  return { url, range, init: { ...rest, headers }, deadlineMs: init.deadlineMs, playlist: init.playlist };
}

