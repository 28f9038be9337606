/** Sidecars: files with the group lists of a playlist's segments, one after the other. */

import { makePart, plainFetch } from './http.js';

/** So much behind a list is read along with it: a request costs more than the lists of the next few segments. */
const AHEAD_BYTES = 8 * 1024;

interface Piece {
  readonly start: number;
  readonly end: number;
  /** What the origin has of it; fewer bytes at the file's end. */
  readonly bytes: Promise<Uint8Array<ArrayBuffer>>;
}

/** Requests parts of sidecars, each with those that are needed next. @internal */
export class Sidecars {
  /** What was read last, by URL; nothing yet of a file that was asked for once: its first list is waited for, and comes alone. */
  readonly #pieces = new Map<string, Piece | undefined>();

  /** The answer to a request for a part of a sidecar, `range` being the header's value. */
  async request({ href }: URL, range: string, signal: AbortSignal): Promise<Response> {
    const [start = 0, last = 0] = range.match(/\d+/g)?.map(Number) ?? [];
    const ask = (end: number) => plainFetch(href, { headers: { range: `bytes=${start}-${end}` }, signal });
    let piece = this.#pieces.get(href);
    if (!this.#pieces.has(href)) {
      this.#pieces.set(href, undefined);
    } else if (!piece || start < piece.start || last >= piece.end) {
      const end = last + AHEAD_BYTES;
      piece = { start, end, bytes: ask(end).then((answer) => this.#partOf(answer, href)) };
      this.#pieces.set(href, piece);
    }
    const bytes = await piece?.bytes.catch(() => undefined);
    if (piece && bytes && last < piece.start + bytes.length) return makePart(href, bytes, piece.start, range);
    signal.throwIfAborted();
    return ask(last);
  }

  async #partOf(answer: Response, href: string): Promise<Uint8Array<ArrayBuffer>> {
    if (answer.status === 206) return new Uint8Array(await answer.arrayBuffer());
    void answer.body?.cancel();
    const bytes = Promise.reject<Uint8Array<ArrayBuffer>>(new Error('not a part'));
    bytes.catch(() => undefined);
    // This origin has no use for more than what is needed.
    this.#pieces.set(href, { start: 0, end: Infinity, bytes });
    return bytes;
  }
}
