/**
 * Fragments that hls.js has not asked for yet. It asks for one after the other; peers whose uplinks are thin need longer for one
 * than it plays, so several have to be on their way at a time.
 */

import type Hls from 'hls.js';
import type { Fragment, FragmentLoaderContext, HlsConfig, LevelDetails } from 'hls.js';
import { originRequest } from './hls-requests.js';
import type { ByteRange } from './keys.js';
import type { Load, LoadRequest } from './load.js';

/** Fragments that are asked for ahead of the one that is being loaded; fewer while hls.js chooses the level itself. */
const AHEAD = 3;
const AHEAD_OF_CHOICE = 1;

/** Starts to fetch what may come from peers; undefined for what may not. @internal */
export type StartLoad = (context: FragmentLoaderContext, request: Omit<LoadRequest, 'deadlineMs'>) => Load | undefined;

/** The bytes of a file that a fragment is. @internal */
export function rangeOf({ rangeStart, rangeEnd }: FragmentLoaderContext): ByteRange | undefined {
  return rangeEnd ? { start: rangeStart ?? 0, end: rangeEnd } : undefined;
}

/** How hls.js will ask for a fragment, seen from how it asked for another one of the kind. */
function contextOf(frag: Fragment, { type, responseType }: FragmentLoaderContext): FragmentLoaderContext {
  const { byteRangeStartOffset: rangeStart, byteRangeEndOffset: rangeEnd, url } = frag;
  const context = { frag, headers: {}, part: null, responseType, type, url };
  return rangeStart !== undefined && rangeEnd !== undefined ? { ...context, rangeStart, rangeEnd } : context;
}

function nameOf({ url, rangeStart, rangeEnd }: FragmentLoaderContext): string {
  return `${rangeStart ?? ''}-${rangeEnd ?? ''} ${url}`;
}

interface Entry {
  readonly frag: Fragment;
  /** Missing while its request is being made, and if it can't come from peers. */
  load: Load | undefined;
}

/** See the module documentation. @internal */
export class Ahead {
  readonly #hls: Hls;
  readonly #start: StartLoad;
  readonly #isDue: () => boolean;
  /** What was asked for ahead, by kind of fragment and name. */
  readonly #loads = new Map<string, Map<string, Entry>>();
  /** The last fragment of each kind that hls.js asked for. */
  readonly #last = new Map<string, FragmentLoaderContext>();

  /** Nothing is asked for until it is due. */
  constructor(hls: Hls, start: StartLoad, isDue: () => boolean) {
    this.#hls = hls;
    this.#start = start;
    this.#isDue = isDue;
  }

  /** hls.js asks for a fragment: the load for it that runs already, or that ended with its bytes. */
  take(context: FragmentLoaderContext): Load | undefined {
    const { frag } = context;
    const name = nameOf(context);
    const loads = this.#loads.get(frag.type);
    const load = loads?.get(name)?.load;
    loads?.delete(name);
    return load?.adopt() ? load : undefined;
  }

  /** A fragment is being loaded: what follows it is asked for too, and what does not is given up. */
  follow(context: FragmentLoaderContext): void {
    const { sn, type } = context.frag;
    if (sn !== 'initSegment') this.#last.set(type, context);
    this.refresh();
  }

  /** Playlists have changed, the playhead has moved, or it became due. */
  refresh(): void {
    if (!this.#isDue()) return;
    for (const [type, last] of this.#last) this.#want(type, this.#after(last.frag).map((frag) => contextOf(frag, last)));
  }

  /** Fragments that are on their way, with their loads. */
  *pending(): Iterable<{ frag: Fragment; load: Load }> {
    for (const loads of this.#loads.values()) {
      for (const { frag, load } of loads.values()) if (load && !load.done) yield { frag, load };
    }
  }

  /** Gives everything up. */
  stop(): void {
    this.#last.clear();
    for (const type of this.#loads.keys()) this.#want(type, []);
  }

  #want(type: string, contexts: readonly FragmentLoaderContext[]): void {
    const before = this.#loads.get(type) ?? new Map<string, Entry>();
    const wanted = new Map<string, Entry>();
    this.#loads.set(type, wanted);
    for (const context of contexts) {
      const name = nameOf(context);
      const known = before.get(name);
      before.delete(name);
      if (known) wanted.set(name, known);
      else this.#begin(wanted, name, context);
    }
    for (const { load } of before.values()) load?.cancel(undefined);
  }

  #begin(wanted: Map<string, Entry>, name: string, context: FragmentLoaderContext): void {
    const entry: Entry = { frag: context.frag, load: undefined };
    wanted.set(name, entry);
    const start = ({ url, init }: { url: string; init: RequestInit }): void => {
      // It may have been given up, or asked for by hls.js, while its request was being made.
      const isWanted = this.#loads.get(context.frag.type)?.get(name) === entry;
      if (isWanted) entry.load = this.#start(context, { url: new URL(url, context.url), range: rangeOf(context), init, isAhead: true });
    };
    try {
      const request = originRequest(context, this.#hls.config as HlsConfig);
      if ('url' in request) start(request);
      else request.then(start, () => undefined);
    } catch {
      // The page's set-up refuses: hls.js will hear of it when it asks itself.
    }
  }

  /** The fragments after one that hls.js will ask for soon. */
  #after(frag: Fragment): Fragment[] {
    const hls = this.#hls;
    const levels: readonly { details?: LevelDetails | undefined }[] = frag.type === 'audio' ? hls.audioTracks : hls.levels;
    const details = levels[frag.level]?.details;
    if (!details || (frag.type === 'main' && hls.loadLevel !== frag.level)) return [];
    const most = hls.autoLevelEnabled && hls.levels.length > 1 ? AHEAD_OF_CHOICE : AHEAD;
    const playhead = hls.media?.currentTime ?? 0;
    const soon = (next: Fragment) => next.sn > frag.sn && next.start < playhead + hls.config.maxBufferLength;
    return details.fragments.filter((next) => !next.gap && soon(next)).slice(0, most);
  }
}
