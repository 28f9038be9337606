/** A swarm and a player, joined: which fragments are shared, when they are needed, and how it all ends. */

import type Hls from 'hls.js';
import type { Fragment, FragmentLoaderContext, HlsConfig, LevelDetails } from 'hls.js';
import { Ahead } from './hls-ahead.js';
import { deadlineAheadMs, deadlineBeforePlaybackMs, deadlineMs } from './hls-deadline.js';
import { makeLoaderClass, type FragmentLoaderClass } from './hls-loader.js';
import { absoluteUrl } from './keys.js';
import type { Load, LoadRequest } from './load.js';
import type { Session } from './session.js';
import type { TransferListener } from './transfer.js';

/**
 * Forward buffer of a player whose page has no wish of its own, seconds. hls.js would take 60 MB, minutes of most streams:
 * a viewer who leaves would have fetched them for nobody, and one who stays too early for anyone to have them.
 */
const BUFFER_SECONDS = 20;

const MEDIA_EVENTS = ['pause', 'play', 'playing', 'ratechange', 'seeked', 'seeking', 'waiting'] as const;

/** How long the first fragment of an `economy` start may wait for peers and, in the end, the origin. Milliseconds. */
const ECONOMY_PATIENCE_MS = 2500;

/** A loader that may have a fragment on its way. @internal */
export interface PendingLoader {
  readonly pending: { context: FragmentLoaderContext; load: Load } | undefined;
}

/** See the module documentation. @internal */
export class Attachment {
  /** Loaders with a fragment on its way. */
  readonly loaders = new Set<PendingLoader>();
  readonly #session: Session;
  readonly #hls: Hls;
  readonly #undo: (() => void)[] = [];
  readonly #ahead: Ahead;
  #media: HTMLMediaElement | undefined;
  #unlistenMedia: (() => void) | undefined;
  #playlist: string | undefined;
  #hasPlayed = false;
  /** Where the first fragment begins, seconds. */
  #firstStart: number | undefined;

  constructor(session: Session, hls: Hls) {
    this.#session = session;
    this.#hls = hls;
    this.#ahead = new Ahead(
      hls,
      (context, request) =>
        this.handles(context) ? session.load({ ...request, deadlineMs: this.#deadlineAheadMs(context.frag), playlist: this.#playlist }) : undefined,
      () => this.#hasPlayed && session.hasPeers,
    );
    this.#undo.push(session.onEnd(() => this.detach()));
    this.#takeLoader();
    this.#lowerBuffer();
    this.#listen();
    if (hls.url) this.#open(hls.url);
    if (hls.media) this.#listenMedia(hls.media);
  }

  /** Gives the player back as it was. */
  detach(): void {
    for (const undo of this.#undo.splice(0)) undo();
    this.#unlistenMedia?.();
    this.#close();
  }

  /** Whether a fragment may come from peers: a whole main or audio segment of a stream that is open, or its init segment. */
  handles({ part, frag, url }: FragmentLoaderContext): boolean {
    if (part !== null || this.#playlist === undefined) return false;
    return (frag.type === 'main' || frag.type === 'audio') && this.#session.shares(absoluteUrl(url), this.#playlist);
  }

  /** Starts to fetch a fragment, or goes on with it. */
  load(context: FragmentLoaderContext, request: LoadRequest, listener: TransferListener): Load {
    const load = this.#ahead.take(context) ?? this.#session.load({ ...request, playlist: this.#playlist }, listener);
    if (!load) return this.#session.loadPlainly(request, listener);
    load.transfer.listener = listener;
    this.#ahead.follow(context);
    return load;
  }

  /** Milliseconds until a fragment is needed. */
  deadlineMs({ frag }: FragmentLoaderContext): number {
    return this.#deadlineMs(frag);
  }

  #deadlineMs(frag: Fragment): number {
    if (this.#hasPlayed) return deadlineMs(frag, this.#media);
    if (frag.sn !== 'initSegment') this.#firstStart ??= frag.start;
    const patienceMs = this.#session.options.start === 'economy' && frag.sn !== 'initSegment' ? ECONOMY_PATIENCE_MS : 0;
    return patienceMs + deadlineBeforePlaybackMs(frag, this.#firstStart ?? frag.start, this.#media);
  }

  #deadlineAheadMs(frag: Fragment): number {
    return this.#hasPlayed && this.#media ? deadlineAheadMs(frag, this.#media) : this.#deadlineMs(frag);
  }

  /** Bytes a millisecond that fragments come with, as far as that is known here or to hls.js. */
  get bytesPerMs(): number {
    return this.#session.bytesPerMs ?? this.#hls.bandwidthEstimate / 8000;
  }

  #takeLoader(): void {
    const { config } = this.#hls;
    const { fLoader } = config;
    const ours = makeLoaderClass(this, fLoader ?? (config.loader as FragmentLoaderClass));
    config.fLoader = ours;
    this.#undo.push(() => {
      if (config.fLoader !== ours) return;
      if (fLoader) config.fLoader = fLoader;
      else delete config.fLoader;
    });
  }

  #lowerBuffer(): void {
    const { config, userConfig } = this.#hls;
    const wishes: Partial<HlsConfig> = userConfig;
    const { maxBufferLength, maxMaxBufferLength, maxBufferSize } = wishes;
    if (maxBufferLength !== undefined || maxMaxBufferLength !== undefined || maxBufferSize !== undefined) return;
    for (const option of ['maxBufferLength', 'maxMaxBufferLength'] as const) {
      const before = config[option];
      const lowered = Math.min(before, BUFFER_SECONDS);
      config[option] = lowered;
      this.#undo.push(() => {
        if (config[option] === lowered) config[option] = before;
      });
    }
  }

  #listen(): void {
    const hls = this.#hls;
    // The class is the page's own copy of hls.js: this package imports none.
    const { Events } = hls.constructor as typeof Hls;
    const on = <E extends Parameters<Hls['on']>[0]>(event: E, listener: Parameters<typeof hls.on<E>>[1]): void => {
      hls.on(event, listener);
      this.#undo.push(() => hls.off(event, listener));
    };
    on(Events.MANIFEST_LOADING, (_event, { url }) => this.#open(url));
    // After redirects it may be another one, and segments are relative to that.
    on(Events.MANIFEST_LOADED, (_event, { url }) => this.#open(url));
    // hls.js tells of these before it asks for what is new in them.
    const updated = (_event: unknown, { details }: { details: LevelDetails }): void => {
      this.#session.takeAlong(this.#playlist ?? '', details);
      this.#ahead.refresh();
    };
    on(Events.LEVEL_UPDATED, updated);
    on(Events.AUDIO_TRACK_UPDATED, updated);
    on(Events.MEDIA_ATTACHED, (_event, { media }) => this.#listenMedia(media));
    on(Events.MEDIA_DETACHED, () => this.#unlistenMedia?.());
    on(Events.DESTROYING, () => this.detach());
  }

  #open(url: string): void {
    const playlist = absoluteUrl(url);
    playlist.hash = '';
    if (playlist.href === this.#playlist) return;
    this.#close();
    this.#hasPlayed = false;
    this.#firstStart = undefined;
    this.#playlist = playlist.href;
    // The session has told of a failure in an event; playback goes on over HTTP.
    this.#session.open(playlist.href).catch(() => undefined);
  }

  #close(): void {
    this.#ahead.stop();
    if (this.#playlist !== undefined) this.#session.close(this.#playlist);
    this.#playlist = undefined;
  }

  #listenMedia(media: HTMLMediaElement): void {
    this.#unlistenMedia?.();
    this.#media = media;
    const played = () => {
      if (media.paused || media.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
      this.#hasPlayed = true;
      this.#session.firstFrame();
      this.#ahead.refresh();
    };
    const moved = () => this.#moveDeadlines();
    media.addEventListener('playing', played);
    for (const event of MEDIA_EVENTS) media.addEventListener(event, moved);
    this.#unlistenMedia = () => {
      media.removeEventListener('playing', played);
      for (const event of MEDIA_EVENTS) media.removeEventListener(event, moved);
      this.#media = undefined;
      this.#unlistenMedia = undefined;
    };
    if (media.currentTime > 0) played();
  }

  #moveDeadlines(): void {
    for (const { pending } of [...this.loaders]) pending?.load.setDeadline(this.deadlineMs(pending.context));
    for (const { frag, load } of [...this.#ahead.pending()]) load.setDeadline(this.#deadlineAheadMs(frag));
  }
}
