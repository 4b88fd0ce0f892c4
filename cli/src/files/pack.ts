import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Header, Pack } from 'tar-stream';

const PIECES = { highWaterMark: 1 << 18 };

type EntryHeader = Partial<Header> & Pick<Header, 'name'>;

/**
 * An archive of what is at a path. Links are packed as links and sockets left out, as docker does. What cannot be read
 * breaks the stream.
 *
 * @param name what it is called in there
 */
export async function packPath(path: string, name: string): Promise<Readable> {
  const { pack: open } = await import('tar-stream');
  const pack = open(PIECES);
  new Packer(pack).add(path, name).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error as Error),
  );
  return Readable.from(pack, { ...PIECES, objectMode: false });
}

class Packer {
  /** Names of what has several, by device and inode. */
  readonly #linked = new Map<string, string>();

  constructor(private readonly pack: Pack) {}

  async add(path: string, name: string): Promise<void> {
    const facts = await lstat(path);
    const header = await this.#headerOf(path, name, facts);
    if (!header) return;
    if (header.type === 'file') {
      // No more than its size: it may grow meanwhile. One that shrinks breaks the archive.
      const content =
        facts.size === 0 ? Readable.from([]) : createReadStream(path, { ...PIECES, end: facts.size - 1 });
      return pipeline(content, this.pack.entry(header));
    }
    await new Promise<void>((resolve, reject) => {
      this.pack.entry(header, (error) => (error ? reject(error) : resolve()));
    });
    if (!facts.isDirectory()) return;
    const names = (await readdir(path)).sort();
    for (const below of names) await this.add(join(path, below), `${name}/${below}`);
  }

  async #headerOf(path: string, name: string, facts: Stats): Promise<EntryHeader | undefined> {
    const { mode, uid, gid, mtime, nlink, dev, ino, rdev } = facts;
    // With the bits of its kind, which are not written: a mode of 0 would be taken for none.
    const common = { name, mode, uid, gid, mtime };
    if (facts.isDirectory()) return { ...common, name: `${name}/`, type: 'directory' };
    if (facts.isSymbolicLink()) return { ...common, type: 'symlink', linkname: await readlink(path) };
    if (facts.isSocket()) return undefined;
    const identity = `${dev}:${ino}`;
    const linkname = this.#linked.get(identity);
    if (linkname !== undefined) return { ...common, type: 'link', linkname };
    if (nlink > 1) this.#linked.set(identity, name);
    if (facts.isFile()) return { ...common, type: 'file', size: facts.size };
    if (facts.isFIFO()) return { ...common, type: 'fifo' };
    return {
      ...common,
      type: facts.isBlockDevice() ? 'block-device' : 'character-device',
      ...deviceNumbers(rdev),
    };
  }
}

/** Source: makedev(3), as Linux has it: 12 bits of each are low, the rest lie above. */
function deviceNumbers(device: number): { readonly devmajor: number; readonly devminor: number } {
  const value = BigInt(device);
  const devmajor = ((value >> 8n) & 0xfffn) | ((value >> 32n) & 0xfffff000n);
  const devminor = (value & 0xffn) | ((value >> 12n) & 0xffffff00n);
  return { devmajor: Number(devmajor), devminor: Number(devminor) };
}
