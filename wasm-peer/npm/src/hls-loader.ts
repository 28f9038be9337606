/**
 * The fragment loader that hls.js makes one of for each fragment.
 *
 * hls.js adapts its quality to how fast fragments come, which it reads from the loader's `stats`. A fragment that waited for
 * peers because there was time must not look slow, one out of memory not endlessly fast. So the times told are those of
 * its transfer at the measured rate, origin and peers together: `loading.end` is when it came, `loading.first` lies so far before
 * that as its bytes take at that rate, `loading.start` the origin's latency before that. While a fragment has time, or waits for
 * peers without the origin being asked, the times told move along with the clock. Otherwise they stand, and hls.js's own
 * rule for abandoning slow fragments applies.
 */

import type {
  FragmentLoaderContext,
  HlsConfig,
  Loader,
  LoaderCallbacks,
  LoaderConfiguration,
  LoaderStats,
} from 'hls.js';
import { rangeOf } from './hls-ahead.js';
import type { Attachment } from './hls-attachment.js';
import { originRequest, type OriginRequest } from './hls-requests.js';
import type { Load, Outcome } from './load.js';

/** A fragment that is needed later than this, or than its own length, has time. Milliseconds. */
const URGENT_MS = 4000;
/** How often the times of a fragment that has time are moved along. Milliseconds. */
const REBASE_INTERVAL_MS = 250;

type FragmentLoader = Loader<FragmentLoaderContext>;

/** A class of fragment loaders, as `hls.config.fLoader` wants it. @internal */
export type FragmentLoaderClass = new (config: HlsConfig) => FragmentLoader;

/** Makes the loader class for a player; `Plain` is the one it would use without us. @internal */
export function makeLoaderClass(attachment: Attachment, Plain: FragmentLoaderClass): FragmentLoaderClass {
  return class TabswarmLoader implements FragmentLoader {
    context: FragmentLoaderContext | null = null;
    // hls.js keeps a reference from before `load`: both loaders write to the same object.
    readonly stats: LoaderStats;
    readonly #config: HlsConfig;
    readonly #plain: FragmentLoader;
    #callbacks: LoaderCallbacks<FragmentLoaderContext> | null = null;
    #policy: LoaderConfiguration | null = null;
    #load: Load | undefined;
    #timeout: ReturnType<typeof setTimeout> | undefined;
    #rebase: ReturnType<typeof setInterval> | undefined;
    #askedMs = 0;
    #answered = true;
    #isPlain = false;

    constructor(config: HlsConfig) {
      this.#config = config;
      this.#plain = new Plain(config);
      this.stats = this.#plain.stats;
    }

    /** The fragment that is being loaded through the swarm. */
    get pending(): { context: FragmentLoaderContext; load: Load } | undefined {
      return this.#load && this.context && !this.#load.done ? { context: this.context, load: this.#load } : undefined;
    }

    load(
      context: FragmentLoaderContext,
      config: LoaderConfiguration,
      callbacks: LoaderCallbacks<FragmentLoaderContext>,
    ): void {
      this.context = context;
      if (!attachment.handles(context)) {
        this.#isPlain = true;
        this.#plain.load(context, config, callbacks);
        return;
      }
      if (this.stats.loading.start) throw new Error('Loader can only be used once.');
      this.stats.loading.start = performance.now();
      this.#callbacks = callbacks;
      this.#policy = config;
      this.#arm(config.loadPolicy.maxLoadTimeMs);
      this.#begin(context);
    }

    abort(): void {
      if (this.#isPlain) return this.#plain.abort();
      const { context } = this;
      this.#stop();
      if (context) this.#callbacks?.onAbort?.(this.stats, context, null);
    }

    destroy(): void {
      this.#callbacks = null;
      this.#stop();
      this.context = null;
      this.#plain.destroy();
    }

    getCacheAge(): number | null {
      return this.#isPlain ? (this.#plain.getCacheAge?.() ?? null) : null;
    }

    getResponseHeader(name: string): string | null {
      return this.#isPlain ? (this.#plain.getResponseHeader?.(name) ?? null) : null;
    }

    #begin(context: FragmentLoaderContext): void {
      try {
        const request = originRequest(context, this.#config);
        if ('url' in request) this.#fetch(context, request);
        else request.then((made) => this.#fetch(context, made), (error: unknown) => this.#refused(context, error));
      } catch (error) {
        this.#refused(context, error);
      }
    }

    #refused(context: FragmentLoaderContext, error: unknown): void {
      this.#fail(context, 0, error instanceof Error ? error.message : String(error));
    }

    #fetch(context: FragmentLoaderContext, { url, init }: OriginRequest): void {
      if (!this.#callbacks || this.stats.aborted) return;
      const request = { url: new URL(url, context.url), range: rangeOf(context), init, deadlineMs: attachment.deadlineMs(context) };
      const load = attachment.load(context, request, {
        originStarted: (nowMs) => this.#originStarted(nowMs),
        originAnswered: (nowMs) => this.#originAnswered(nowMs),
        received: (bytes, nowMs) => this.#received(bytes, nowMs),
      });
      this.#load = load;
      if (load.transfer.bytes > 0) this.#received(load.transfer.bytes, performance.now());
      attachment.loaders.add(this);
      this.#rebase = setInterval(() => this.#keepTime(), REBASE_INTERVAL_MS);
      void load.outcome.then((outcome) => this.#settle(context, load, outcome));
    }

    // The time limits are hls.js's, for what they are meant for: an origin that was asked and doesn't answer.
    #originStarted(nowMs: number): void {
      this.#askedMs = nowMs;
      this.#answered = false;
      this.#limit(nowMs);
    }

    #originAnswered(nowMs: number): void {
      this.#answered = true;
      this.#limit(nowMs);
    }

    #limit(nowMs: number): void {
      const { maxTimeToFirstByteMs, maxLoadTimeMs } = this.#policy?.loadPolicy ?? {};
      const leftMs = (maxLoadTimeMs || Infinity) - (nowMs - this.#askedMs);
      const first = !this.#answered && Number.isFinite(maxTimeToFirstByteMs) ? maxTimeToFirstByteMs : undefined;
      this.#arm(Math.min(first || Infinity, leftMs));
    }

    #received(bytes: number, nowMs: number): void {
      const { stats } = this;
      if (stats.loaded === 0) stats.loading.first = Math.max(nowMs, stats.loading.start);
      stats.loaded += bytes;
      // What peers bring meanwhile is a sign of life, too.
      if (!this.#answered) this.#limit(nowMs);
      this.#keepTime();
    }

    #keepTime(): void {
      const { context } = this;
      if (!context || !this.#load || this.#load.done) return;
      const patienceMs = Math.max(URGENT_MS, context.frag.duration * 1000);
      const waits = (this.#load.deadlineMs ?? 0) > patienceMs || !this.#load.transfer.originActive;
      if (waits) this.#tellTimes(performance.now(), this.stats.loaded);
    }

    #tellTimes(nowMs: number, bytes: number): void {
      const { loading } = this.stats;
      const transfer = this.#load?.transfer;
      const bytesPerMs = transfer?.bytesPerMs ?? attachment.bytesPerMs;
      const takenMs = bytes / Math.max(bytesPerMs, 0.001);
      // hls.js takes a start of 0 for not started.
      loading.first = Math.max(1, nowMs - takenMs);
      loading.start = Math.max(1, loading.first - (transfer?.firstByteMs ?? 0));
      if (bytes === 0) loading.first = 0;
    }

    #settle(context: FragmentLoaderContext, load: Load, outcome: Outcome): void {
      if (load !== this.#load || !this.#callbacks) return;
      if (outcome.kind === 'aborted') {
        // Ours are silent: hls.js heard of them from `abort`. This one is the swarm's end.
        return this.#fail(context, 0, 'aborted');
      }
      if (outcome.kind === 'failed') {
        return this.#fail(context, outcome.status, outcome.code === 'mismatch' ? 'origin-mismatch' : '');
      }
      const { stats } = this;
      const callbacks = this.#callbacks;
      // hls.js gives its buffer to a worker.
      const { buffer } = outcome.bytes;
      stats.loaded = stats.total = buffer.byteLength;
      stats.loading.end = performance.now();
      this.#tellTimes(stats.loading.end, stats.loaded);
      stats.bwEstimate = (stats.total * 8000) / Math.max(1, stats.loading.end - stats.loading.first);
      this.#cease();
      callbacks.onProgress?.(stats, context, buffer, null);
      callbacks.onSuccess({ url: context.url, data: buffer, code: outcome.status }, stats, context, null);
    }

    #fail(context: FragmentLoaderContext, code: number, text: string): void {
      const callbacks = this.#callbacks;
      this.#cease();
      callbacks?.onError({ code, text }, context, null, this.stats);
    }

    #arm(delayMs: number): void {
      clearTimeout(this.#timeout);
      if (Number.isFinite(delayMs)) this.#timeout = setTimeout(() => this.#timedOut(), delayMs);
    }

    #timedOut(): void {
      const { context } = this;
      const callbacks = this.#callbacks;
      if (!context || !callbacks) return;
      this.#stop();
      callbacks.onTimeout(this.stats, context, null);
    }

    /** Ends a transfer that is still running. */
    #stop(): void {
      const load = this.#load;
      const running = this.#callbacks !== null && !this.stats.loading.end;
      this.#cease();
      if (load && !load.done) {
        this.stats.aborted = true;
        load.cancel(undefined);
      } else if (!load && running) {
        this.stats.aborted = true;
      }
    }

    #cease(): void {
      clearTimeout(this.#timeout);
      clearInterval(this.#rebase);
      this.#load = undefined;
      attachment.loaders.delete(this);
    }
  };
}
