/** The streams of a session: joined, with their manifests, and found again by a segment's URL. */

import type { Engine, EngineRoots } from './engine.js';
import { TabswarmError } from './errors.js';
import { plainFetch, TimeLimit } from './http.js';
import { absoluteUrl, manifestUrl, mayTrustUnsigned, sidecarUrl, streamName } from './keys.js';
import type { ResolvedOptions } from './options.js';

/** Longest manifest that is read, as in the module, which refuses one of unknown length. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** A manifest that takes longer than this is none. Milliseconds. */
const MANIFEST_LIMIT_MS = 10_000;
/** Segments wait no longer than this for it to be joined, once the module is being loaded; then they come over plain HTTP. Milliseconds. */
const JOIN_PATIENCE_MS = 1000;

/** A stream that was asked to be opened. @internal */
export interface OpenStream {
  /** The master playlist. */
  readonly playlist: URL;
  /** The engine's number for it, once it is joined. */
  place: number | undefined;
  /** Viewers, as the service said last; 0 while it is not known. */
  viewers: number;
  /** How many have opened it and not closed it. */
  users: number;
  /** Settles when it is joined, and its manifest known; rejects if it can't be. */
  ready: Promise<void>;
  /** Resolves when `ready` has settled, or segments have waited for it long enough. */
  patience: Promise<void>;
  /** What has become of `ready`. */
  state: 'joining' | 'joined' | 'failed';
}

/** A media playlist that was loaded. @internal */
export interface MediaPlaylist {
  /** Where it came from, redirects followed. */
  readonly url: string;
  /** Its text. */
  readonly m3u8: string;
}

/** See the module documentation. @internal */
export class Streams {
  readonly #started: Promise<Engine | undefined>;
  #engine: Engine | undefined;
  readonly #options: ResolvedOptions;
  readonly #streams = new Map<string, OpenStream>();
  readonly #begun: Promise<void>;
  /** Of manifests that are on their way. */
  readonly #limits = new Set<TimeLimit>();

  /**
   * `started` gives the engine once it runs, or nothing if there won't be one: then no stream can be joined. `begun` resolves when
   * its module begins to be loaded.
   */
  constructor(started: Promise<Engine | undefined>, options: ResolvedOptions, begun = Promise.resolve()) {
    this.#started = started;
    this.#begun = begun;
    this.#options = options;
  }

  /** Opens a stream, or gives the one that is open. One that could not be joined is tried again. */
  open(playlist: URL): OpenStream {
    let stream = this.#streams.get(playlist.href);
    if (!stream) {
      const nothing = Promise.resolve();
      stream = { playlist, place: undefined, viewers: 0, users: 0, ready: nothing, patience: nothing, state: 'failed' };
      this.#streams.set(playlist.href, stream);
    }
    stream.users += 1;
    if (stream.state === 'failed') this.#start(stream);
    return stream;
  }

  /** Leaves a stream, if nobody else has it open. */
  close(playlist: URL): void {
    const stream = this.#streams.get(playlist.href);
    if (!stream) return;
    stream.users -= 1;
    if (stream.users > 0) return;
    this.#streams.delete(playlist.href);
    this.#leave(stream);
  }

  /** The stream of a segment: the one named, else the one whose directory it is in, else the one opened last. */
  find(segment: URL, playlist: string | undefined): OpenStream | undefined {
    if (playlist !== undefined) return this.#streams.get(absoluteUrl(playlist).href);
    let last: OpenStream | undefined;
    let inside: OpenStream | undefined;
    let deepest = 0;
    for (const stream of this.#streams.values()) {
      const directory = stream.playlist.pathname.replace(/[^/]*$/, '');
      if (segment.pathname.startsWith(directory) && directory.length > deepest) {
        inside = stream;
        deepest = directory.length;
      }
      last = stream;
    }
    return inside ?? last;
  }

  /** The stream of this number. */
  at(place: number): OpenStream | undefined {
    return [...this.#streams.values()].find((stream) => stream.place === place);
  }

  /** Where a sidecar of a stream is. */
  sidecarUrl(place: number, path: string): URL | undefined {
    const stream = this.at(place);
    return stream && sidecarUrl(stream.playlist, path);
  }

  /**
   * Fetches a live stream's manifest again. Where there is none at the moment, or a bad one, the one before it goes on to count,
   * and the engine asks again later.
   */
  async refresh(place: number): Promise<void> {
    const stream = this.at(place);
    const manifest = stream && (await this.#manifest(stream, 'no-cache').catch(() => undefined));
    try {
      this.#engine?.addManifest(place, manifest);
    } catch {
      // It does not verify: as if none had come.
    }
  }

  /** Takes the manifest that came along with a playlist of a stream, if one did. One that does not verify is as good as none. */
  takeAlong(playlist: string, { url, m3u8 }: MediaPlaylist): void {
    const place = this.#streams.get(playlist)?.place;
    if (place === undefined || this.#options.roots === 'attested' || !this.#trusts(new URL(url))) return;
    // Its last line, if it brings one along.
    const base64 = /\n#EXT-X-TABSWARM:([^#]*)$/.exec(m3u8)?.[1];
    try {
      if (base64) this.#engine?.addManifest(place, Uint8Array.from(atob(base64), (char) => char.charCodeAt(0)), true);
    } catch {
      // The file may be better.
    }
  }

  /** Viewers of all streams. */
  get viewers(): number {
    return [...this.#streams.values()].reduce((sum, stream) => sum + stream.viewers, 0);
  }

  /** Gives up what is on its way. */
  end(reason: TabswarmError): void {
    for (const limit of this.#limits) limit.end(reason);
  }

  #start(stream: OpenStream): void {
    stream.state = 'joining';
    stream.ready = this.#join(stream).then(
      () => {
        stream.state = 'joined';
      },
      (error: unknown) => {
        stream.state = 'failed';
        this.#leave(stream);
        throw error;
      },
    );
    stream.patience = this.#begun.then(
      () =>
        new Promise((resolve) => {
          const timer = setTimeout(resolve, JOIN_PATIENCE_MS);
          const settled = () => {
            clearTimeout(timer);
            resolve();
          };
          stream.ready.then(settled, settled);
        }),
    );
  }

  #leave(stream: OpenStream): void {
    const { place } = stream;
    stream.place = undefined;
    stream.viewers = 0;
    if (place !== undefined) this.#engine?.closeStream(place);
  }

  async #join(stream: OpenStream): Promise<void> {
    const { roots, stream: pinned, publisherKey } = this.#options;
    const name = pinned ?? streamName(stream.playlist);
    await this.#begun;
    const manifest = roots === 'attested' ? undefined : this.#manifest(stream);
    // It may fail while the engine is on its way; below it is heard.
    manifest?.catch(() => undefined);
    this.#engine = await this.#started;
    if (!this.#engine) throw new TabswarmError('module-unavailable', 'no module');
    if (roots === 'attested') {
      this.#place(stream, 'Attested', name);
    } else if (roots === 'signed') {
      this.#place(stream, 'Signed', pinned, publisherKey, await manifest);
    } else {
      this.#place(stream, 'Origin', name);
      if (stream.place !== undefined) this.#engine.addManifest(stream.place, await manifest);
    }
  }

  #place(stream: OpenStream, roots: EngineRoots, name?: string, publisherKey?: string, manifest?: Uint8Array): void {
    // Closed while its manifest was on the way.
    if (this.#streams.get(stream.playlist.href) !== stream) return;
    stream.place = this.#engine?.open(roots, name, publisherKey, manifest);
  }

  /** Whether a manifest from there may count. */
  #trusts(where: URL): boolean {
    return this.#options.roots === 'signed' || mayTrustUnsigned(where);
  }

  async #manifest(stream: OpenStream, cache: RequestCache = 'default'): Promise<Uint8Array> {
    const { manifest } = this.#options;
    const url = manifest === undefined ? manifestUrl(stream.playlist) : absoluteUrl(manifest);
    const insecure = () => new TabswarmError('insecure-manifest', `unsigned, from ${url.origin}`);
    if (!this.#trusts(url)) throw insecure();
    const limit = new TimeLimit(MANIFEST_LIMIT_MS);
    this.#limits.add(limit);
    try {
      const response = await plainFetch(url, { signal: limit.signal, cache });
      if (!response.ok) throw new Error(`HTTP status ${response.status}`);
      // A redirect may have led somewhere else.
      if (response.url !== '' && !this.#trusts(new URL(response.url))) throw insecure();
      if (Number(response.headers.get('content-length')) > MAX_MANIFEST_BYTES) throw new Error('too long');
      return new Uint8Array(await response.arrayBuffer());
    } catch (cause) {
      if (cause instanceof TabswarmError) throw cause;
      if (limit.signal.reason instanceof TabswarmError) throw limit.signal.reason;
      throw new TabswarmError('manifest-unavailable', `no manifest at ${url.pathname}: ${(cause as Error).message}`, { cause });
    } finally {
      limit.clear();
      this.#limits.delete(limit);
    }
  }
}
