/** A request to the origin that was made before it is known who carries the load out. */

type Chunk = Uint8Array<ArrayBuffer>;

/** Hears of an answer that comes. @internal */
export interface EarlyListener {
  /** Status and headers came. */
  answered(): void;
  /** So many bytes came. */
  received(bytes: number): void;
}

/** A whole body. @internal */
export interface Whole {
  readonly status: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * The answer to it, read as it comes: whoever is to carry the load out takes it over, with what has come; if it is complete before,
 * its bytes are there. @internal
 */
export class EarlyAnswer {
  /** The bytes, once they are complete; nothing if it was taken before, or brought none. */
  readonly complete: Promise<Whole | undefined>;
  readonly #answer: Promise<Response>;
  readonly #chunks: Chunk[] = [];
  #reader: ReadableStreamDefaultReader<Chunk> | undefined;
  #taker: ReadableStreamDefaultController<Chunk> | undefined;
  #isTaken = false;

  /** `listener` hears of what comes until it is taken. */
  constructor(answer: Promise<Response>, listener: EarlyListener) {
    this.#answer = answer;
    this.complete = this.#read(listener).catch(() => undefined);
  }

  /** The answer, for one who reads it from the start. */
  async take(): Promise<Response> {
    this.#isTaken = true;
    const answer = await this.#answer;
    const reader = this.#reader;
    if (!reader) return answer;
    const start = (controller: ReadableStreamDefaultController<Chunk>) => {
      for (const chunk of this.#chunks.splice(0)) controller.enqueue(chunk);
      this.#taker = controller;
    };
    const pull = async (controller: ReadableStreamDefaultController<Chunk>) => {
      const { done, value } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    };
    const cancel = (reason: unknown) => reader.cancel(reason);
    const { status, statusText, headers, type } = answer;
    const again = new Response(new ReadableStream({ start, pull, cancel }), { status, statusText, headers });
    return Object.defineProperty(again, 'type', { value: type });
  }

  async #read(listener: EarlyListener): Promise<Whole | undefined> {
    const { ok, status, body } = await this.#answer;
    listener.answered();
    if (this.#isTaken || !ok || !body) return undefined;
    this.#reader = (body as ReadableStream<Chunk>).getReader();
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (this.#isTaken) {
        // The taker's reads wait behind this one.
        if (value) this.#taker?.enqueue(value);
        return undefined;
      }
      if (done) return { status, bytes: joined(this.#chunks) };
      this.#chunks.push(value);
      listener.received(value.length);
    }
  }
}

function joined(chunks: readonly Chunk[]): Chunk {
  const bytes = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
