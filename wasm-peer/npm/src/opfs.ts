/** The page's origin-private file system: a directory a stream, a file a segment. */

import { Disk, type Shelf, type ShelfEntry } from './disk.js';
import { TimeLimit } from './http.js';

/** Everything of this package lies below this directory; another layout gets another name. */
const ROOT = 'tabswarm-1';
/** The file of the list of what is blocked. */
const BLOCKS = 'blocks';
/** More files than this are not looked at. */
const MAX_FILES = 8192;
/** Bytes that are handed to the browser at once, so that none of the page's tasks takes long. */
const WRITE_PART_BYTES = 4 * 1024 * 1024;

/** A page without its segments on disk plays all the same: it waits no longer than this for them. Milliseconds. */
const PATIENCE_MS = 800;

/** The disk, if the browser has it soon enough. @internal */
export async function openDisk(limitBytes: number): Promise<Disk | undefined> {
  const limit = new TimeLimit(PATIENCE_MS);
  try {
    const opening = Opfs.open().then((shelf) => shelf && Disk.open(shelf, limitBytes));
    return await Promise.race([opening, limit.passed]);
  } catch {
    // Segments stay in memory.
    return undefined;
  } finally {
    limit.clear();
  }
}

/** See the module documentation. @internal */
class Opfs implements Shelf {
  readonly #root: FileSystemDirectoryHandle;
  readonly #streams = new Map<string, FileSystemDirectoryHandle>();

  private constructor(root: FileSystemDirectoryHandle) {
    this.#root = root;
  }

  /** Opens it, or gives undefined where there is none: insecure contexts, old browsers, some private windows. */
  static async open(): Promise<Opfs | undefined> {
    const { storage } = globalThis.navigator ?? {};
    if (typeof storage?.getDirectory !== 'function' || typeof FileSystemFileHandle !== 'function') return undefined;
    if (!('createWritable' in FileSystemFileHandle.prototype)) return undefined;
    const top = await storage.getDirectory();
    return new Opfs(await top.getDirectoryHandle(ROOT, { create: true }));
  }

  async list(): Promise<ShelfEntry[]> {
    const entries: ShelfEntry[] = [];
    for await (const [stream, directory] of this.#root.entries()) {
      if (directory.kind !== 'directory') continue;
      const handle = directory as FileSystemDirectoryHandle;
      this.#streams.set(stream, handle);
      for await (const name of handle.keys()) {
        if (entries.length >= MAX_FILES) return entries;
        entries.push({ stream, name });
      }
    }
    return entries;
  }

  async read({ stream, name }: ShelfEntry): Promise<Uint8Array<ArrayBuffer>> {
    return read(await this.#directory(stream), name);
  }

  async write({ stream, name }: ShelfEntry, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await write(await this.#directory(stream), name, bytes);
  }

  async readBlocks(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    try {
      return await read(this.#root, BLOCKS);
    } catch (error) {
      if ((error as Error).name === 'NotFoundError') return undefined;
      throw error;
    }
  }

  writeBlocks(list: Uint8Array<ArrayBuffer>): Promise<void> {
    return write(this.#root, BLOCKS, list);
  }

  async remove({ stream, name }: ShelfEntry): Promise<void> {
    await (await this.#directory(stream)).removeEntry(name);
  }

  async freeBytes(): Promise<number> {
    const { quota, usage } = await navigator.storage.estimate();
    return quota === undefined || usage === undefined ? Infinity : Math.max(0, quota - usage);
  }

  async #directory(stream: string): Promise<FileSystemDirectoryHandle> {
    const known = this.#streams.get(stream);
    if (known) return known;
    const directory = await this.#root.getDirectoryHandle(stream, { create: true });
    this.#streams.set(stream, directory);
    return directory;
  }
}

async function read(directory: FileSystemDirectoryHandle, name: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = await directory.getFileHandle(name);
  return new Uint8Array(await (await file.getFile()).arrayBuffer());
}

async function write(directory: FileSystemDirectoryHandle, name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  const file = await directory.getFileHandle(name, { create: true });
  // Nothing is there before `close`: a tab that ends midway leaves no half of it.
  const writable = await file.createWritable();
  try {
    for (let start = 0; start < bytes.length; start += WRITE_PART_BYTES) {
      await writable.write(bytes.subarray(start, start + WRITE_PART_BYTES));
    }
    await writable.close();
  } catch (error) {
    await writable.abort().catch(() => undefined);
    throw error;
  }
}
