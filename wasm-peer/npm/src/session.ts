/** What stands behind a `Tabswarm`: engine, streams and counters, and plain HTTP where there is no engine. */

import { DeviceWatch } from './device.js';
import type { Disk } from './disk.js';
import { Engine, type EngineLink, type EngineListener } from './engine.js';
import { TabswarmError } from './errors.js';
import type { TabswarmEventDetail, TabswarmEventMap } from './events.js';
import { absoluteUrl } from './keys.js';
import { Load, type Carrier, type Delivered, type LoadRequest } from './load.js';
import { isSupported, loadModule, type Module } from './module.js';
import type { ResolvedOptions } from './options.js';
import { readPath, UNKNOWN_PATH, type Path } from './paths.js';
import { RateMeter } from './rates.js';
import { isSameSharing, strictest, type SharingDetail, type SharingReason, type Sharing } from './sharing.js';
import { meshOf, type TabswarmMode, type TabswarmPeer, type TabswarmStats } from './stats.js';
import { Streams, type MediaPlaylist, type OpenStream } from './streams.js';
import { Throughput, type TransferListener } from './transfer.js';

/** Connections' paths are looked up at most this often. Milliseconds. */
const PATH_INTERVAL_MS = 1000;

/** The module comes when there is a picture, or after this: until then the picture has the machine for itself. Milliseconds. */
const PICTURE_PATIENCE_MS = 700;

/** What is needed sooner is asked of the origin while the module is on its way. Milliseconds. */
const MODULE_PATIENCE_MS = 1000;

/** The disk; a page that wants none does not load what it takes. */
async function openDisk(limitBytes: number): Promise<Disk | undefined> {
  try {
    const opfs = await import('./opfs.js');
    return await opfs.openDisk(limitBytes);
  } catch {
    // Segments stay in memory.
    return undefined;
  }
}

/** How a session tells its page what happens. @internal */
export type Emit = <K extends keyof TabswarmEventMap>(type: K, detail: TabswarmEventDetail<K>) => void;

const NO_CARRIER: Carrier = { cancel: () => undefined, setDeadline: () => undefined };
/** What carries loads out: on its way, there, or not to be had. */
type Stage = 'starting' | 'started' | 'missing';

/** See the module documentation. @internal */
export class Session {
  readonly options: ResolvedOptions;
  readonly #emit: Emit;
  /** Links that are ready. */
  readonly #connected = new Set<number>();
  readonly #loads = new Set<Load>();
  readonly #endings = new Set<() => void>();
  readonly #paths = new Map<number, Path>();
  readonly #rates = new Map<number, RateMeter>();
  /** The rate of all transfers, for players that adapt to it. */
  readonly #throughput = new Throughput();
  /** What carries loads out, once it is there. */
  readonly #carrier: Carrier = {
    cancel: (load) => this.#engine?.cancel(load),
    setDeadline: (load, deadlineMs) => this.#engine?.setDeadline(load, deadlineMs),
  };
  #stage: Stage = 'missing';
  #opening: Promise<Disk | undefined> = Promise.resolve(undefined);
  #disk: Disk | undefined;
  #engine: Engine | undefined;
  #streams: Streams | undefined;
  #hasPlayed = false;
  /** Has the module loaded. */
  begin!: () => void;
  readonly #begun = new Promise<void>((resolve) => (this.begin = resolve));
  #device: DeviceWatch | undefined;
  /** Whether the page wants P2P. */
  #isEnabled: boolean;
  #sharing: SharingDetail;
  #destroyed = false;
  #peerId: string | null = null;
  #serviceReady = false;
  #pathsAtMs = -Infinity;

  constructor(options: ResolvedOptions, emit: Emit) {
    this.options = options;
    this.#emit = emit;
    this.#isEnabled = options.consent === 'auto';
    this.#sharing = this.#sharingNow();
  }

  /** Starts the engine where there can be one. Segments are asked for meanwhile; without an engine it is HTTP. */
  start(): void {
    const { signaling } = this.options;
    if (signaling === undefined) return;
    if (!isSupported()) return this.#doWithout(new TabswarmError('unsupported', 'no WebAssembly or WebRTC here'));
    this.#stage = 'starting';
    this.#device = new DeviceWatch(this.options.policy, () => this.#share());
    this.#endings.add(() => this.#device?.stop());
    this.#sharing = this.#sharingNow();
    this.#streams = new Streams(this.#load(signaling), this.options, this.#begun);
    if (this.options.start === 'economy') return this.begin();
    const timer = setTimeout(() => this.begin(), PICTURE_PATIENCE_MS);
    this.#endings.add(() => clearTimeout(timer));
  }

  /** The engine; nothing if there won't be one. */
  async #load(signaling: string): Promise<Engine | undefined> {
    try {
      if (this.options.persist) this.#opening = openDisk(this.options.persistLimitBytes);
      await this.#begun;
      if (this.#destroyed) return undefined;
      const module = await loadModule(this.options.wasmUrl);
      this.#disk = await this.#opening;
      if (this.#destroyed) return undefined;
      const engine = this.#startEngine(module, signaling);
      this.#stage = 'started';
      return engine;
    } catch (error) {
      this.#doWithout(error);
      return undefined;
    }
  }

  #doWithout(error: unknown): void {
    this.#stage = 'missing';
    this.#end();
    // Listeners are added to what `create` returns: they are to hear of it.
    setTimeout(() => {
      if (this.#destroyed) return;
      this.#fail(error);
      this.#emit('state', { mode: this.mode });
    }, 0);
  }

  #startEngine(module: Module, signaling: string): Engine {
    const { lan, maxConnections, token, cacheLimitBytes, start, signedMismatch, iceServers, issuerKeys } = this.options;
    const options = {
      seed: crypto.getRandomValues(new Uint8Array(32)),
      signaling,
      cacheLimitBytes,
      diskLimitBytes: this.#disk?.limitBytes ?? 0,
      economy: start === 'economy',
      near: lan === 'auto',
      maxConnections,
      p2p: this.#sharing.sharing !== 'off',
      deliverSignedMismatch: signedMismatch === 'deliver',
      ...(token !== undefined && { token }),
      ...(this.#uploadLimit !== undefined && { uploadLimit: this.#uploadLimit }),
      ...(iceServers && { iceServers }),
      ...(issuerKeys && { issuerKeys }),
    };
    const engine = new Engine(module, options, this.#listener(), this.#throughput);
    this.#engine = engine;
    if (this.#disk?.blocks) engine.keptBlocks(this.#disk.blocks);
    for (const { content, stream, bytes } of this.#disk?.restored ?? []) engine.restored(content, stream, bytes);
    if (this.#hasPlayed) engine.firstFrame();
    const goodbye = (event: Event) => {
      if (!(event as PageTransitionEvent).persisted) engine.shutDown();
    };
    globalThis.addEventListener?.('pagehide', goodbye);
    this.#endings.add(() => globalThis.removeEventListener?.('pagehide', goodbye));
    return engine;
  }

  /** Whether segments are shared, or will be. */
  get #shares(): boolean {
    return !this.#destroyed && (this.#stage === 'starting' || (this.#engine?.alive ?? false));
  }

  get mode(): TabswarmMode {
    if (!this.#shares) return 'http';
    return this.#sharing.sharing === 'off' ? 'off' : 'p2p';
  }

  /** Whether there is anybody to share with. */
  get hasPeers(): boolean {
    return this.mode === 'p2p' && this.#connected.size > 0;
  }

  /** Bytes a millisecond that segments came with, or undefined before the first. */
  get bytesPerMs(): number | undefined {
    return this.#throughput.bytesPerMs;
  }

  /** @throws TabswarmError `destroyed` */
  checkAlive(): void {
    if (this.#destroyed) throw destroyed();
  }

  /** Joins a stream. @throws TabswarmError; its segments then come over HTTP */
  async open(playlistUrl: string): Promise<void> {
    this.checkAlive();
    const playlist = absoluteUrl(playlistUrl);
    playlist.hash = '';
    try {
      await this.#streams?.open(playlist).ready;
    } catch (error) {
      if (this.#destroyed) throw destroyed();
      // Where there is no engine, that has been told.
      if (this.#stage !== 'started') return;
      this.#fail(error);
      throw error;
    }
  }

  /** Leaves a stream. */
  close(playlistUrl: string): void {
    this.#streams?.close(absoluteUrl(playlistUrl));
  }

  /** Takes what a media playlist of a stream brings along. */
  takeAlong(playlist: string, media: MediaPlaylist): void {
    this.#streams?.takeAlong(playlist, media);
  }

  /** Whether a segment would come through the engine. */
  shares(segment: URL, playlist?: string): boolean {
    return this.#sharedStream(segment, playlist) !== undefined;
  }

  #sharedStream(segment: URL, playlist: string | undefined): OpenStream | undefined {
    if (!this.#shares) return undefined;
    const stream = this.#streams?.find(segment, playlist);
    // A stream that could not be joined: the page's own requests do better than ours.
    return stream?.state === 'failed' ? undefined : stream;
  }

  /** Fetches a segment through the engine; undefined if it is of no open stream. */
  load(request: LoadRequest, listener?: TransferListener): Load | undefined {
    // Answers to these show neither status nor bytes.
    if (request.init.mode === 'no-cors' || request.init.redirect === 'manual') return undefined;
    const stream = this.#sharedStream(request.url, request.playlist);
    if (!stream) return undefined;
    const load = new Load(request, this.#carrier, listener);
    this.#follow(load);
    // The first picture does not wait for us.
    const isFirst = !this.#hasPlayed && !this.hasPeers && request.deadlineMs === 0;
    if (!isFirst) this.begin();
    const isUrgent = stream.place === undefined && (request.deadlineMs ?? 0) < MODULE_PATIENCE_MS;
    if (this.options.start === 'playback' && (isFirst || isUrgent)) void this.#askEarly(load, stream);
    if (stream.place !== undefined) this.#fetch(load, stream);
    else void stream.patience.then(() => this.#fetch(load, stream));
    return load;
  }

  /** Fetches a segment from the origin alone. */
  loadPlainly(request: LoadRequest, listener?: TransferListener): Load {
    const load = new Load(request, NO_CARRIER, listener);
    void load.fetchPlainly().then(() => this.#throughput.add(load.transfer));
    return load;
  }

  /** Asks the origin before the engine is there, unless the segment may be on disk. */
  async #askEarly(load: Load, stream: OpenStream): Promise<void> {
    if (this.options.persist && ((await this.#opening)?.restored.length ?? 0) > 0) return this.begin();
    if (!load.isAhead && !load.done && load.id === undefined) load.askEarly();
    const early = await load.finishEarly();
    if (!early) return this.begin();
    const { delivered, copy } = early;
    this.#throughput.add(load.transfer);
    this.#emit('segment-loaded', segmentLoaded(load.request.url.href, delivered));
    this.#follow(copy);
    await stream.ready.catch(() => undefined);
    this.#fetch(copy, stream);
  }

  #follow(load: Load): void {
    this.#loads.add(load);
    void load.outcome.then(() => this.#loads.delete(load));
  }

  #fetch(load: Load, stream: OpenStream): void {
    if (load.done) return;
    const { url } = load.request;
    const { place } = stream;
    if (place === undefined || !this.#engine?.alive) return void load.fetchPlainly();
    try {
      const path = this.options.segmentKey?.(new URL(url));
      if (path !== undefined) this.#engine.fetch(load, place, undefined, path);
      else if (this.#engine.mixesUp(load)) void load.fetchPlainly();
      else this.#engine.fetch(load, place, stream.playlist.pathname, url.pathname);
    } catch (error) {
      void load.fetchPlainly();
      this.#fail(error);
    }
  }

  firstFrame(): void {
    this.#hasPlayed = true;
    this.begin();
    this.#engine?.firstFrame();
  }

  setP2p(on: boolean): void {
    this.#isEnabled = on;
    if (on) this.begin();
    this.#share();
  }

  #sharingNow(): SharingDetail {
    const { policy, uploadLimit } = this.options;
    const rules = new Map<SharingReason, Sharing>();
    for (const state of this.#device?.states ?? []) rules.set(state, policy[state]);
    if (uploadLimit === 0) rules.set('uploadLimit', 'download-only');
    if (!this.#isEnabled) rules.set('disabled', 'off');
    return strictest(rules);
  }

  /** Bytes a second that may be given as things are; undefined: no limit. */
  get #uploadLimit(): number | undefined {
    return this.#sharing.sharing === 'full' ? this.options.uploadLimit : 0;
  }

  /** Shares what the page and its policy want as things are now. */
  #share(): void {
    const { mode } = this;
    const sharing = this.#sharingNow();
    if (this.#destroyed || isSameSharing(sharing, this.#sharing)) return;
    this.#sharing = sharing;
    if (!this.#shares) return;
    const isOn = sharing.sharing !== 'off';
    // Who leaves need not take back first what was announced.
    if (isOn) this.#engine?.setUploadLimit(this.#uploadLimit);
    this.#engine?.setP2p(isOn);
    this.#emit('sharing', sharing);
    if (mode !== this.mode) this.#emit('state', { mode: this.mode });
  }

  /** Calls a function when this session ends; the result takes that back. */
  onEnd(end: () => void): () => void {
    this.#endings.add(end);
    return () => this.#endings.delete(end);
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#end();
    this.#destroyed = true;
    this.begin();
    this.#streams?.end(destroyed());
    for (const load of [...this.#loads]) load.cancel(destroyed());
    this.#engine?.destroy();
    this.#disk?.close();
  }

  #end(): void {
    for (const end of [...this.#endings]) end();
    this.#endings.clear();
  }

  stats(): TabswarmStats {
    const engine = this.#engine;
    const report = engine?.report();
    const { originBytes = 0, peerBytes = 0, diskBytes = 0 } = report ?? {};
    const { mode } = this;
    const { sharing, reasons }: SharingDetail = mode === 'http' ? { sharing: 'off', reasons: [] } : this.#sharing;
    return {
      mode,
      sharing,
      sharingReasons: reasons,
      peerId: this.#peerId,
      viewers: this.#streams?.viewers ?? 0,
      signaling: this.#signaling(report?.serviceConnected ?? false),
      originBytes,
      peerBytes,
      diskBytes,
      uploadBytes: report?.uploadBytes ?? 0,
      controlBytesIn: report?.controlBytesIn ?? 0,
      controlBytesOut: report?.controlBytesOut ?? 0,
      verifiedGroups: report?.verifiedGroups ?? 0,
      badGroups: report?.badGroups ?? 0,
      offload: peerBytes > 0 ? peerBytes / (peerBytes + originBytes) : 0,
      wasmMemoryBytes: engine?.memoryBytes ?? 0,
      segments: report?.segments ?? 0,
      mesh: meshOf(engine?.mesh()),
      peers: engine ? this.#peers(engine) : [],
    };
  }

  #signaling(connected: boolean): TabswarmStats['signaling'] {
    if (this.mode !== 'p2p') return 'off';
    if (this.#serviceReady) return 'open';
    return connected ? 'connecting' : 'closed';
  }

  #peers(engine: Engine): TabswarmPeer[] {
    const nowMs = performance.now();
    const links = engine.links();
    if (nowMs - this.#pathsAtMs >= PATH_INTERVAL_MS) {
      this.#pathsAtMs = nowMs;
      this.#forgetLinks(links);
      engine.pollPaths();
    }
    return links.map(({ link, peer, open, partner, rttMs, bytesIn, bytesOut }) => {
      const path = this.#paths.get(link) ?? UNKNOWN_PATH;
      const rates = this.#rates.get(link) ?? new RateMeter();
      this.#rates.set(link, rates);
      rates.update(bytesIn, bytesOut, nowMs);
      return {
        id: peer,
        state: open ? 'open' : 'connecting',
        partner,
        localCandidate: path.local,
        remoteCandidate: path.remote,
        rttMs: path.rttMs ?? rttMs ?? null,
        bytesIn,
        bytesOut,
        rateInBps: rates.inBps,
        rateOutBps: rates.outBps,
      };
    });
  }

  #forgetLinks(links: readonly EngineLink[]): void {
    const kept = new Set(links.map(({ link }) => link));
    for (const known of [this.#paths, this.#rates]) {
      for (const link of known.keys()) if (!kept.has(link)) known.delete(link);
    }
  }

  #fail(error: unknown): void {
    const known = error instanceof TabswarmError;
    this.#emit('error', { error: known ? error : new TabswarmError('module-failed', String(error), { cause: error }) });
  }

  #listener(): EngineListener {
    const emit = this.#emit;
    return {
      sidecarUrl: (place, path) => this.#streams?.sidecarUrl(place, path),
      manifestWanted: (place) => void this.#streams?.refresh(place),
      manifestRolledBack: () =>
        this.#fail(new TabswarmError('manifest-rollback', 'an older manifest came in the place of a newer one')),
      chunkDownloaded: ({ request }, bytes, peer) => {
        const { href: url } = request.url;
        if (peer === undefined) emit('chunk-downloaded', { url, bytes, source: 'origin' });
        else emit('chunk-downloaded', { url, bytes, source: 'peer', peer });
      },
      delivered: ({ request }, delivered) => emit('segment-loaded', segmentLoaded(request.url.href, delivered)),
      died: (reason) => {
        emit('error', { error: new TabswarmError('module-failed', reason) });
        emit('state', { mode: this.mode });
      },
      mismatch: ({ href: url }) => emit('origin-mismatch', { url }),
      keepBlocks: (list) => void this.#disk?.keepBlocks(list),
      forget: (content, stream) => void this.#disk?.forget(content, stream),
      load: (blob, content, stream) => {
        if (this.#engine) void this.#disk?.load(blob, content, stream, this.#engine);
      },
      persist: (content, stream, bytes) => {
        if (this.#engine) void this.#disk?.persist(content, stream, bytes, this.#engine);
      },
      pathReport: (link, report) => void this.#paths.set(link, readPath(report)),
      peerBanned: (peer, reason) => emit('peer-banned', { peer, reason }),
      peerClosed: (link, peer, reason) => {
        this.#paths.delete(link);
        this.#rates.delete(link);
        this.#connected.delete(link);
        emit('peer-close', { peer, reason });
      },
      peerConnected: (link, peer) => {
        this.#pathsAtMs = -Infinity;
        this.#connected.add(link);
        emit('peer-connect', { peer });
      },
      population: (place, viewers) => {
        const stream = this.#streams?.at(place);
        if (stream) stream.viewers = viewers;
        emit('population', { viewers });
      },
      serviceLost: () => {
        this.#serviceReady = false;
        emit('signaling-close', {});
      },
      serviceReady: (peer) => {
        this.#peerId = peer;
        this.#serviceReady = true;
        emit('signaling-open', {});
      },
      uploaded: (bytes, peer) => emit('chunk-uploaded', { bytes, peer }),
    };
  }
}

function destroyed(): TabswarmError {
  return new TabswarmError('destroyed', 'this instance was destroyed');
}

function segmentLoaded(url: string, delivered: Delivered): TabswarmEventDetail<'segment-loaded'> {
  return {
    url,
    bytes: delivered.bytes.length,
    fromOrigin: delivered.originBytes,
    fromPeers: delivered.peerBytes,
    fromDisk: delivered.diskBytes,
    delivery: delivered.verified ? 'verified' : 'origin-whole',
    durationMs: delivered.tookMs,
    peers: delivered.peers,
  };
}
