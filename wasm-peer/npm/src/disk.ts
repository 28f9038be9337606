/**
 * Segments on disk: written when the page is idle, read when the engine wants them.
 *
 * A file's name is its address and length, so that a listing is an index. What it says and what a file holds is nobody's word:
 * the engine checks every byte. Two tabs of one origin write the same bytes under the same name, and each copes with files
 * that the other has removed.
 */

import type { DiskWriteResult } from './engine.js';

/** A file. @internal */
export interface ShelfEntry {
  /** The stream's id. */
  readonly stream: string;
  readonly name: string;
}

/** What keeps files. Everything may fail. @internal */
export interface Shelf {
  list(): Promise<ShelfEntry[]>;
  read(entry: ShelfEntry): Promise<Uint8Array<ArrayBuffer>>;
  /** All of the bytes, or nothing. */
  write(entry: ShelfEntry, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  remove(entry: ShelfEntry): Promise<void>;
  /** Bytes that the browser would still take. */
  freeBytes(): Promise<number>;
  /** The list of what is blocked, as it was written last. */
  readBlocks(): Promise<Uint8Array<ArrayBuffer> | undefined>;
  writeBlocks(list: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** What a disk tells the engine. @internal */
export interface DiskUser {
  persisted(content: string, write: DiskWriteResult): void;
  blobRead(blob: number, bytes: Uint8Array | undefined, start: number, end: number): void;
}

/** A segment that was found. @internal */
export interface Restored {
  readonly content: string;
  readonly stream: string;
  readonly bytes: number;
}

/** Bytes of a segment that the engine checks in one task. */
const READ_PART_BYTES = 8 * 1024 * 1024;
/** A page that is never idle is not waited for any longer. Milliseconds. */
const IDLE_LIMIT_MS = 5000;
/** Without word from the browser when it is idle, a write waits this long. Milliseconds. */
const IDLE_GUESS_MS = 200;

const STREAM = /^[0-9a-f]{64}$/;
const NAME = /^([0-9a-f]{64})-([1-9][0-9]{0,8})$/;

/** See the module documentation. @internal */
export class Disk {
  /** What was there when it was opened. */
  readonly restored: readonly Restored[];
  /** What was blocked when it was opened. */
  readonly blocks: Uint8Array | undefined;
  /** Most bytes that are kept. */
  readonly limitBytes: number;
  readonly #shelf: Shelf;
  readonly #names = new Map<string, string>();
  #closed = false;

  private constructor(shelf: Shelf, restored: readonly Restored[], limitBytes: number, blocks: Uint8Array | undefined) {
    this.#shelf = shelf;
    this.blocks = blocks;
    this.restored = restored;
    this.limitBytes = limitBytes;
    for (const { content, bytes } of restored) this.#names.set(content, `${content}-${bytes}`);
  }

  /** Looks at what is there. Half of what the browser would still take is left to the page. */
  static async open(shelf: Shelf, wishedBytes: number): Promise<Disk> {
    const found = new Map<string, Restored>();
    for (const entry of await shelf.list()) {
      const [, content, length] = (STREAM.test(entry.stream) && NAME.exec(entry.name)) || [];
      if (content === undefined || found.has(content)) {
        // None of ours, or twice. A file that another tab is writing can't be removed, and need not.
        shelf.remove(entry).catch(() => undefined);
        continue;
      }
      found.set(content, { content, stream: entry.stream, bytes: Number(length) });
    }
    // In order, as the engine takes them quickest.
    const restored = [...found.values()].sort((a, b) => (a.content < b.content ? -1 : 1));
    const kept = restored.reduce((sum, { bytes }) => sum + bytes, 0);
    const free = await shelf.freeBytes();
    return new Disk(shelf, restored, Math.min(wishedBytes, kept + Math.floor(free / 2)), await shelf.readBlocks());
  }

  /** Writes a segment when the page is idle. */
  async persist(content: string, stream: string, bytes: Uint8Array<ArrayBuffer>, user: DiskUser): Promise<void> {
    await idle();
    if (this.#closed) return;
    const name = `${content}-${bytes.length}`;
    let write: DiskWriteResult = 'Kept';
    try {
      await this.#shelf.write({ stream, name }, bytes);
      this.#names.set(content, name);
    } catch (error) {
      write = (error as Error).name === 'QuotaExceededError' ? 'Full' : 'Failed';
    }
    if (!this.#closed) user.persisted(content, write);
  }

  /** Reads a segment. */
  async load(blob: number, content: string, stream: string, user: DiskUser): Promise<void> {
    const name = this.#names.get(content);
    const bytes = name === undefined ? undefined : await this.#shelf.read({ stream, name }).catch(() => undefined);
    for (let start = 0; bytes && start < bytes.length; start += READ_PART_BYTES) {
      if (start > 0) await new Promise((resolve) => setTimeout(resolve, 0));
      if (this.#closed) return;
      user.blobRead(blob, bytes, start, Math.min(bytes.length, start + READ_PART_BYTES));
    }
    if (!this.#closed) user.blobRead(blob, undefined, 0, 0);
  }

  /** Removes a segment. */
  async forget(content: string, stream: string): Promise<void> {
    const name = this.#names.get(content);
    this.#names.delete(content);
    if (name === undefined) return;
    // It may be gone already, or another tab may be writing it just now: one that opens later looks again.
    await this.#shelf.remove({ stream, name }).catch(() => undefined);
  }

  /** Keeps the list of what is blocked, at once. */
  async keepBlocks(list: Uint8Array<ArrayBuffer>): Promise<void> {
    // A full disk keeps the one before; the service says it again when the page opens.
    await this.#shelf.writeBlocks(list).catch(() => undefined);
  }

  /** Tells nothing any more. */
  close(): void {
    this.#closed = true;
  }
}

function idle(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof requestIdleCallback === 'function') requestIdleCallback(() => resolve(), { timeout: IDLE_LIMIT_MS });
    else setTimeout(resolve, IDLE_GUESS_MS);
  });
}
