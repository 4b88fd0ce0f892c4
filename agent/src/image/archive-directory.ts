import { type FileHandle, lstat, open, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { ClusterError } from '@tessera/shared/errors';

/**
 * The files of an unpacked archive, by the names its own metadata gives. The unpacker has ended, so nothing in
 * it changes; but names and links in it are still foreign, and none may lead outside.
 */
export class ArchiveDirectory {
  private constructor(private readonly root: string) {}

  static async at(root: string): Promise<ArchiveDirectory> {
    return new ArchiveDirectory(await realpath(root));
  }

  /** Whether there is such a file. */
  async has(name: string): Promise<boolean> {
    try {
      return (await lstat(join(this.root, name))).isFile();
    } catch {
      return false;
    }
  }

  /**
   * The path of a regular file. Older `docker save` links layers that several images share.
   * @throws ClusterError `invalidArgument` when it is missing, no file, or outside
   */
  async path(name: string): Promise<string> {
    const refuse = (why: string) => new ClusterError('invalidArgument', `image archive: '${name}' ${why}`);
    let path: string;
    try {
      path = await realpath(join(this.root, name));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw refuse(code === 'ELOOP' ? 'is a link to itself' : 'is missing: the archive is incomplete');
    }
    if (!path.startsWith(this.root + sep)) throw refuse('leads outside the archive');
    if (!(await lstat(path)).isFile()) throw refuse('is not a file');
    return path;
  }

  /** @throws ClusterError `invalidArgument`, also when it is larger than `bytesMax` */
  async read(name: string, bytesMax: number): Promise<Buffer> {
    const file = await open(await this.path(name), 'r');
    try {
      const { size } = await file.stat();
      if (size > bytesMax) {
        throw new ClusterError(
          'invalidArgument',
          `image archive: '${name}' is larger than ${bytesMax} bytes`,
        );
      }
      return await readFully(file, size);
    } finally {
      await file.close();
    }
  }

  /** The first bytes of a file. */
  async head(name: string, length: number): Promise<Buffer> {
    const file = await open(await this.path(name), 'r');
    try {
      return await readFully(file, length);
    } finally {
      await file.close();
    }
  }
}

async function readFully(file: FileHandle, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let at = 0;
  while (at < length) {
    const { bytesRead } = await file.read(buffer, at, length - at, at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return buffer.subarray(0, at);
}
