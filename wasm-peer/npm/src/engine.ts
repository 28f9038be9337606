/**
 * The wasm peer, wrapped: calls into it never nest, and one that traps ends its use for the whole page.
 *
 * What the module says through its hooks is queued and told after its method has returned, so that no code of the page ever
 * runs with the module on the stack. URLs, headers and credentials stay on this side.
 */

import { moduleError } from './errors.js';
import { plainFetch } from './http.js';
import type { Carrier, Delivered, Load, LoadRequest } from './load.js';
import { abandonModule, onModuleLost, panicMessage, type Glue, type Module } from './module.js';
import type { Throughput } from './transfer.js';

type Peer = InstanceType<Glue['Peer']>;
type PeerHooks = import('./tabswarm.js').PeerHooks;
type PeerReport = Omit<import('./tabswarm.js').PeerReport, 'free' | typeof Symbol.dispose>;

/** How an engine is set up. @internal */
export type EngineOptions = import('./tabswarm.js').PeerOptions;

/** Where roots come from. @internal */
export type EngineRoots = keyof typeof import('./tabswarm.js').StreamRoots;

/** What became of a write to disk. @internal */
export type DiskWriteResult = keyof typeof import('./tabswarm.js').DiskWrite;

/** A connection, copied out of the module. @internal */
export interface EngineLink {
  readonly link: number;
  readonly peer: string;
  readonly open: boolean;
  readonly partner: boolean;
  readonly rttMs: number | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** What an engine tells. Called outside the module, in order. @internal */
export interface EngineListener {
  sidecarUrl(stream: number, path: string): URL | undefined;
  /** A newer manifest is wanted: one `addManifest` must follow. */
  manifestWanted(stream: number): void;
  manifestRolledBack(): void;
  chunkDownloaded(load: Load, bytes: number, peer: string | undefined): void;
  delivered(load: Load, delivered: Delivered): void;
  died(reason: string): void;
  /** The list of what is blocked is kept on disk. */
  keepBlocks(list: Uint8Array<ArrayBuffer>): void;
  /** A segment is removed from disk. */
  forget(content: string, stream: string): void;
  /** A segment is read from disk, for {@link Engine.blobRead}. */
  load(blob: number, content: string, stream: string): void;
  mismatch(url: URL): void;
  /** A segment is written to disk; {@link Engine.persisted} follows. */
  persist(content: string, stream: string, bytes: Uint8Array<ArrayBuffer>): void;
  pathReport(link: number, report: RTCStatsReport): void;
  peerBanned(peer: string, reason: string): void;
  peerClosed(link: number, peer: string, reason: string): void;
  peerConnected(link: number, peer: string): void;
  population(stream: number, viewers: number): void;
  serviceLost(): void;
  serviceReady(peer: string): void;
  uploaded(bytes: number, peer: string): void;
}

/** Segments delivered unchecked that are remembered: a root that comes later may contradict one, a fetch join it. */
const MAX_UNVERIFIED = 64;

/** What the module has the browser keep open. */
type Opened = RTCPeerConnection | WebSocket | AbortController;

/** See the module documentation. @internal */
export class Engine implements Carrier {
  readonly #glue: Glue;
  readonly #memory: WebAssembly.Memory;
  readonly #listener: EngineListener;
  readonly #throughput: Throughput;
  readonly #loads = new Map<number, Load>();
  /** The last {@link MAX_UNVERIFIED} fetches that were delivered unchecked, the oldest first. */
  readonly #unverified = new Map<number, LoadRequest>();
  /** Weak, for Chromium counts a closed connection until it is collected. */
  readonly #opened = new Set<WeakRef<Opened>>();
  readonly #unlisten: () => void;
  #peer: Peer | undefined;
  #starting: Load | undefined;
  #inside = false;
  #telling = false;
  #queue: (() => void)[] = [];

  /** `throughput` takes all transfers. @throws TabswarmError `module-failed` */
  constructor(module: Module, options: EngineOptions, listener: EngineListener, throughput: Throughput) {
    this.#glue = module.glue;
    this.#memory = module.memory;
    this.#listener = listener;
    this.#throughput = throughput;
    const lost = panicMessage();
    if (lost !== undefined) throw moduleError(lost);
    try {
      this.#peer = new module.glue.Peer(options, this.#hooks());
    } catch (error) {
      throw moduleError(typeof error === 'string' ? error : abandonModule(String(error)));
    }
    this.#unlisten = onModuleLost(() => this.#die());
  }

  /** Whether it can be called. */
  get alive(): boolean {
    return this.#peer !== undefined && panicMessage() === undefined;
  }

  /** Memory of the module, bytes. */
  get memoryBytes(): number {
    return this.#memory.buffer.byteLength;
  }

  /** Joins a stream; its number, or undefined if the module died. @throws TabswarmError as `Peer.open` */
  open(roots: EngineRoots, name?: string, publisherKey?: string, manifest?: Uint8Array): number | undefined {
    return this.#call((peer) => peer.open(this.#glue.StreamRoots[roots], name, publisherKey, manifest));
  }

  /**
   * Gives the manifest of a stream in `Origin` mode or a newer one, or says that there is none; or one that came along with a playlist.
   * @throws TabswarmError `manifest`
   */
  addManifest(stream: number, manifest: Uint8Array | undefined, along = false): void {
    this.#call((peer) => peer.addManifest(stream, manifest, along));
  }

  /** Leaves a stream. */
  closeStream(stream: number): void {
    this.#call((peer) => peer.closeStream(stream));
  }

  /**
   * Whether the module might answer a load with the bytes of another URL: keys have neither host nor query, and one of the
   * same path is on its way or was delivered unchecked.
   */
  mixesUp({ request: { url, range } }: Load): boolean {
    const requests = [...[...this.#loads.values()].map(({ request }) => request), ...this.#unverified.values()];
    return requests.some(
      (other) =>
        other.url.href !== url.href &&
        other.url.pathname === url.pathname &&
        other.range?.start === range?.start &&
        other.range?.end === range?.end,
    );
  }

  /** Carries a load out. Without a playlist path, `path` is the key's. @throws TabswarmError `segment-key` */
  fetch(load: Load, stream: number, playlistPath: string | undefined, path: string): void {
    const { range } = load.request;
    this.#starting = load;
    try {
      this.#call((peer) => peer.fetch(stream, playlistPath, path, range?.start, range?.end, load.deadlineMs));
    } finally {
      this.#starting = undefined;
    }
  }

  cancel(load: Load): void {
    const { id } = load;
    if (id === undefined) return;
    this.#loads.delete(id);
    this.#call((peer) => peer.cancel(id));
  }

  setDeadline(load: Load, deadlineMs: number): void {
    const { id } = load;
    if (id !== undefined) this.#call((peer) => peer.setDeadline(id, deadlineMs));
  }

  /** What was blocked in an earlier session; before anything is restored. */
  keptBlocks(list: Uint8Array): void {
    this.#call((peer) => peer.keptBlocks(list));
  }

  /** A segment is on disk. @throws TabswarmError if it is none */
  restored(content: string, stream: string, bytes: number): void {
    this.#call((peer) => peer.restored(content, stream, bytes));
  }

  /** A segment was written, or was not. */
  persisted(content: string, write: DiskWriteResult): void {
    this.#call((peer) => peer.persisted(content, this.#glue.DiskWrite[write]));
  }

  /** Bytes of a blob were read, those from `start` to `end` of them; without bytes it was all, or can't be read. */
  blobRead(blob: number, bytes: Uint8Array | undefined, start: number, end: number): void {
    this.#call((peer) => peer.blobRead(blob, bytes, start, end));
  }

  firstFrame(): void {
    this.#call((peer) => peer.firstFrame());
  }

  setP2p(on: boolean): void {
    this.#call((peer) => peer.setP2p(on));
  }

  /** Bytes a second that peers are given from now on; undefined: no limit. */
  setUploadLimit(limit: number | undefined): void {
    this.#call((peer) => peer.setUploadLimit(limit));
  }

  /** Has the statistics of every connection told. */
  pollPaths(): void {
    this.#call((peer) => peer.pollPaths());
  }

  /** Counters, or undefined if the module died. */
  report(): PeerReport | undefined {
    return this.#call((peer) => {
      const report = peer.report();
      const { badGroups, controlBytesIn, controlBytesOut, diskBytes, originBytes, peerBytes } = report;
      const { segments, serviceConnected, uploadBytes, verifiedGroups } = report;
      report.free();
      return {
        badGroups, controlBytesIn, controlBytesOut, diskBytes, originBytes, peerBytes,
        segments, serviceConnected, uploadBytes, verifiedGroups,
      };
    });
  }

  /** What the mesh is and did, for `meshOf`, or undefined if the module died. */
  mesh(): Iterable<number> | undefined {
    return this.#call((peer) => peer.mesh());
  }

  /** Connections, open and being made. */
  links(): EngineLink[] {
    const links = this.#call((peer) =>
      peer.links().map((report) => {
        const { link, peer: id, open, partner, rttMs, bytesIn, bytesOut } = report;
        report.free();
        return { link, peer: id, open, partner, rttMs, bytesIn, bytesOut };
      }),
    );
    return links ?? [];
  }

  /** Says goodbye to peers and service, as on `pagehide`. */
  shutDown(): void {
    this.#call((peer) => peer.shutDown());
  }

  /** Ends everything. Loads that are still running have been cancelled before. */
  destroy(): void {
    this.shutDown();
    this.#call((peer) => peer.close());
    const peer = this.#peer;
    // A lost one is never freed.
    if (!peer || !this.alive) return;
    this.#peer = undefined;
    this.#unlisten();
    try {
      peer.free();
    } catch (error) {
      abandonModule(String(error));
    }
  }

  #call<T>(act: (peer: Peer) => T): T | undefined {
    const peer = this.#peer;
    if (!peer || !this.alive) return undefined;
    this.#inside = true;
    try {
      return act(peer);
    } catch (error) {
      // A refusal is thrown as a text; anything else left the module in an unknown state.
      if (typeof error === 'string') throw moduleError(error);
      abandonModule(String(error));
      return undefined;
    } finally {
      this.#inside = false;
      this.#tell();
    }
  }

  /** Ends what the module can't end any more, and has what was on its way fetched without it. */
  #die(): void {
    for (const known of this.#opened) {
      const opened = known.deref();
      if (opened && 'abort' in opened) opened.abort();
      else opened?.close();
    }
    this.#opened.clear();
    const loads = [...this.#loads.values(), ...(this.#starting ? [this.#starting] : [])];
    this.#loads.clear();
    this.#queue.push(() => this.#listener.died(panicMessage() ?? ''));
    for (const load of new Set(loads)) {
      load.id = undefined;
      this.#queue.push(() => void load.fetchPlainly());
    }
    // It may be another engine's call that ended so.
    if (!this.#inside) this.#tell();
  }

  #remember(opened: Opened): void {
    for (const known of this.#opened) if (!known.deref()) this.#opened.delete(known);
    this.#opened.add(new WeakRef(opened));
  }

  #tell(): void {
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let next = this.#queue.shift(); next; next = this.#queue.shift()) next();
    } finally {
      this.#telling = false;
    }
  }

  #dispatch(kind: number, id: number, value: unknown): void {
    // Browsers call back from their own tasks. One that ever did otherwise has to wait.
    if (this.#inside) queueMicrotask(() => this.#dispatch(kind, id, value));
    else this.#call((peer) => peer.dispatch(kind, id, value));
  }

  // Async, so that nothing is ever thrown into the module.
  async #request(fetch: number, range: string | undefined, fresh: boolean, abort: AbortController): Promise<Response> {
    this.#remember(abort);
    const load = this.#loads.get(fetch);
    if (!load) throw new Error('nobody waits for it');
    const { url, init } = load.request;
    const early = fresh ? undefined : load.takeEarly(range, abort.signal);
    if (early) return early;
    const headers = new Headers(init.headers);
    if (range !== undefined) headers.set('range', range);
    load.transfer.originStarted(performance.now());
    return plainFetch(url, { ...init, headers, signal: abort.signal, ...(fresh && { cache: 'reload' }) });
  }

  async #requestSidecar(stream: number, path: string, range: string, abort: AbortController): Promise<Response> {
    this.#remember(abort);
    const url = this.#listener.sidecarUrl(stream, path);
    if (!url) throw new Error('not of this stream');
    return plainFetch(url, { headers: { range }, signal: abort.signal });
  }

  #finish(fetch: number): Load | undefined {
    const load = this.#loads.get(fetch);
    this.#loads.delete(fetch);
    if (load) load.id = undefined;
    return load;
  }

  #rememberUnverified(fetch: number, request: LoadRequest): void {
    const [oldest] = this.#unverified.keys();
    if (oldest !== undefined && this.#unverified.size >= MAX_UNVERIFIED) this.#unverified.delete(oldest);
    this.#unverified.set(fetch, request);
  }

  #hooks(): PeerHooks {
    const listener = this.#listener;
    const queue = (tell: () => void) => void this.#queue.push(tell);
    const now = () => performance.now();
    return {
      dispatch: (kind, id, value) => this.#dispatch(kind, id, value),
      pathReport: (link, report) => listener.pathReport(link, report),
      started: (fetch) => {
        if (!this.#starting) return;
        this.#starting.id = fetch;
        this.#loads.set(fetch, this.#starting);
      },
      opened: (connection) => this.#remember(connection),
      request: (fetch, range, fresh, abort) => this.#request(fetch, range, fresh, abort),
      requestSidecar: (stream, path, range, abort) => this.#requestSidecar(stream, path, range, abort),
      requestManifest: (stream) => queue(() => listener.manifestWanted(stream)),
      manifestRolledBack: () => queue(() => listener.manifestRolledBack()),
      originHead: (fetch) => this.#loads.get(fetch)?.transfer.originAnswered(now()),
      originChunk: (fetch, bytes) => {
        const load = this.#loads.get(fetch);
        if (!load) return;
        load.receivedFromOrigin(bytes);
        queue(() => listener.chunkDownloaded(load, bytes, undefined));
      },
      originEnd: (fetch) => this.#loads.get(fetch)?.transfer.originEnded(now()),
      persist: (content, stream, bytes) => queue(() => listener.persist(content, stream, bytes as Uint8Array<ArrayBuffer>)),
      load: (blob, content, stream) => queue(() => listener.load(blob, content, stream)),
      keepBlocks: (list) => queue(() => listener.keepBlocks(list as Uint8Array<ArrayBuffer>)),
      forget: (content, stream) => queue(() => listener.forget(content, stream)),
      stays: (fetch) => {
        const load = this.#loads.get(fetch);
        if (load?.isAhead) load.stay();
        return load?.isAhead ?? false;
      },
      delivered: (fetch, status, bytes, verified, originBytes, peerBytes, diskBytes, tookMs, peers) => {
        const load = this.#finish(fetch);
        if (!load) return;
        if (!load.isCopy) this.#throughput.add(load.transfer);
        if (!verified) this.#rememberUnverified(fetch, load.request);
        const buffer = bytes as Uint8Array<ArrayBuffer>;
        const from = { originBytes, peerBytes, diskBytes, peers, tookMs };
        const delivered: Delivered = { kind: 'delivered', status, bytes: buffer, verified, ...from };
        queue(() => {
          const { isAhead } = load;
          load.finish(delivered);
          if (!isAhead) listener.delivered(load, delivered);
        });
      },
      failed: (fetch, code, status) => {
        const load = this.#finish(fetch);
        if (!load) return;
        // Too many fetches of this segment already share one transfer: this one goes alone.
        if (code === 'cancelled') queue(() => void load.fetchPlainly());
        else queue(() => load.finish({ kind: 'failed', code, status }));
      },
      peerChunk: (fetch, bytes, peer) => {
        const load = this.#loads.get(fetch);
        if (!load) return;
        load.transfer.received(bytes, now());
        queue(() => listener.chunkDownloaded(load, bytes, peer));
      },
      uploaded: (bytes, peer) => queue(() => listener.uploaded(bytes, peer)),
      peerConnected: (link, peer) => queue(() => listener.peerConnected(link, peer)),
      peerClosed: (link, peer, reason) => queue(() => listener.peerClosed(link, peer, reason)),
      peerBanned: (peer, reason) => queue(() => listener.peerBanned(peer, reason)),
      mismatch: (fetch) => {
        const url = (this.#loads.get(fetch)?.request ?? this.#unverified.get(fetch))?.url;
        if (url) queue(() => listener.mismatch(url));
      },
      population: (stream, viewers) => queue(() => listener.population(stream, viewers)),
      serviceReady: (peer) => queue(() => listener.serviceReady(peer)),
      serviceLost: () => queue(() => listener.serviceLost()),
    };
  }
}
