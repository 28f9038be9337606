import { describe, expect, it } from 'vitest';
import { Disk, type DiskUser, type Shelf, type ShelfEntry } from '../src/disk.js';
import type { DiskWriteResult } from '../src/engine.js';

const STREAM = 'a'.repeat(64);
const address = (digit: string) => digit.repeat(64);
const MIB = 1024 * 1024;

/** Files in memory, which fail when they are told to. */
class MemoryShelf implements Shelf {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>();
  free = Infinity;
  failure: string | undefined;

  put(name: string, bytes = new Uint8Array(3), stream = STREAM): void {
    this.files.set(`${stream}/${name}`, bytes);
  }

  list(): Promise<ShelfEntry[]> {
    return Promise.resolve([...this.files.keys()].map((path) => {
      const [stream = '', name = ''] = path.split('/');
      return { stream, name };
    }));
  }

  async read({ stream, name }: ShelfEntry): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = this.files.get(`${stream}/${name}`);
    if (!bytes) throw new DOMException('gone', 'NotFoundError');
    return Promise.resolve(bytes);
  }

  async write({ stream, name }: ShelfEntry, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.failure !== undefined) throw new DOMException('no', this.failure);
    this.put(name, bytes, stream);
    return Promise.resolve();
  }

  async remove({ stream, name }: ShelfEntry): Promise<void> {
    if (!this.files.delete(`${stream}/${name}`)) throw new DOMException('gone', 'NotFoundError');
    return Promise.resolve();
  }

  blocks: Uint8Array<ArrayBuffer> | undefined;

  readBlocks(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return Promise.resolve(this.blocks);
  }

  async writeBlocks(list: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.failure !== undefined) throw new DOMException('no', this.failure);
    this.blocks = list;
    return Promise.resolve();
  }

  freeBytes(): Promise<number> {
    return Promise.resolve(this.free);
  }
}

class Told implements DiskUser {
  readonly writes: [string, DiskWriteResult][] = [];
  readonly reads: [number, number | undefined, number, number][] = [];

  persisted(content: string, write: DiskWriteResult): void {
    this.writes.push([content, write]);
  }

  blobRead(blob: number, bytes: Uint8Array | undefined, start: number, end: number): void {
    this.reads.push([blob, bytes?.length, start, end]);
  }
}

describe('opening', () => {
  it('finds what was kept and removes what is none of it', async () => {
    const shelf = new MemoryShelf();
    shelf.put(`${address('1')}-3`);
    shelf.put(`${address('2')}-70000`);
    const foreign = ['notes.txt', `${address('3')}`, `${address('3')}-`, `${address('3')}-0`, `${address('3')}-1e9`, `${address('4')}-5.crswap`];
    for (const name of foreign) shelf.put(name);
    shelf.put(`${address('5')}-3`, undefined, 'not-a-stream');
    const disk = await Disk.open(shelf, MIB);
    expect(disk.restored.map(({ content, bytes }) => [content, bytes])).toEqual([[address('1'), 3], [address('2'), 70_000]]);
    expect([...shelf.files.keys()]).toEqual([`${STREAM}/${address('1')}-3`, `${STREAM}/${address('2')}-70000`]);
  });

  it('takes the first of two files of one address', async () => {
    const shelf = new MemoryShelf();
    shelf.put(`${address('1')}-3`);
    shelf.put(`${address('1')}-4`);
    expect((await Disk.open(shelf, MIB)).restored).toHaveLength(1);
    expect(shelf.files.size).toBe(1);
  });

  it('leaves the page half of what the browser would still take', async () => {
    const shelf = new MemoryShelf();
    shelf.put(`${address('1')}-1000`);
    shelf.free = 400;
    expect((await Disk.open(shelf, MIB)).limitBytes).toBe(1200);
    shelf.free = Infinity;
    expect((await Disk.open(shelf, MIB)).limitBytes).toBe(MIB);
  });
});

describe('writing', () => {
  it('names a file by its address and length, and reads it again', async () => {
    const shelf = new MemoryShelf();
    const disk = await Disk.open(shelf, MIB);
    const told = new Told();
    await disk.persist(address('1'), STREAM, new Uint8Array(5), told);
    expect([...shelf.files.keys()]).toEqual([`${STREAM}/${address('1')}-5`]);
    await disk.load(7, address('1'), STREAM, told);
    await disk.forget(address('1'), STREAM);
    expect(told.writes).toEqual([[address('1'), 'Kept']]);
    expect(told.reads).toEqual([[7, 5, 0, 5], [7, undefined, 0, 0]]);
    expect(shelf.files.size).toBe(0);
  });

  it.each([['QuotaExceededError', 'Full'], ['NoModificationAllowedError', 'Failed'], ['NotFoundError', 'Failed']])(
    'tells %s as %s',
    async (name, told) => {
      const shelf = new MemoryShelf();
      shelf.failure = name;
      const user = new Told();
      await (await Disk.open(shelf, MIB)).persist(address('1'), STREAM, new Uint8Array(5), user);
      expect(user.writes).toEqual([[address('1'), told]]);
    },
  );

  it('writes and tells nothing once it is closed', async () => {
    const shelf = new MemoryShelf();
    const disk = await Disk.open(shelf, MIB);
    const user = new Told();
    const writing = disk.persist(address('1'), STREAM, new Uint8Array(5), user);
    disk.close();
    await writing;
    await disk.load(7, address('1'), STREAM, user);
    expect([user.writes, user.reads, shelf.files.size]).toEqual([[], [], 0]);
  });
});

describe('what is blocked', () => {
  it('is there again when it is opened, and stays when it can not be written', async () => {
    const shelf = new MemoryShelf();
    const disk = await Disk.open(shelf, MIB);
    expect(disk.blocks).toBeUndefined();
    await disk.keepBlocks(new Uint8Array([7]));
    shelf.failure = 'QuotaExceededError';
    await disk.keepBlocks(new Uint8Array([8]));
    expect((await Disk.open(shelf, MIB)).blocks).toEqual(new Uint8Array([7]));
  });
});

describe('reading', () => {
  it('gives a long segment in parts', async () => {
    const shelf = new MemoryShelf();
    shelf.put(`${address('1')}-${20 * MIB}`, new Uint8Array(20 * MIB));
    const told = new Told();
    await (await Disk.open(shelf, 64 * MIB)).load(7, address('1'), STREAM, told);
    expect(told.reads.map(([, , start, end]) => [start / MIB, end / MIB])).toEqual([[0, 8], [8, 16], [16, 20], [0, 0]]);
  });

  it('says so when another tab has removed the file, and removing it again is no error', async () => {
    const shelf = new MemoryShelf();
    shelf.put(`${address('1')}-3`);
    const disk = await Disk.open(shelf, MIB);
    shelf.files.clear();
    const told = new Told();
    await disk.load(7, address('1'), STREAM, told);
    await disk.load(8, address('2'), STREAM, told);
    expect(told.reads).toEqual([[7, undefined, 0, 0], [8, undefined, 0, 0]]);
    await disk.forget(address('1'), STREAM);
  });
});
