import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readdir } from 'node:fs/promises';

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
const BLOCK_BYTES = 512;

/**
 * Bytes of the files that a container has written: its own layer, blocks as the disk has them.
 *
 * The container may change the tree meanwhile, and may mean ill: every directory is opened by its parent's descriptor
 * and never through a link, so that nothing outside is ever counted. What goes away on the way counts as gone.
 */
export async function writtenBytes(upperDir: string, signal: AbortSignal): Promise<number> {
  const top = await open(upperDir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).catch(ifGone);
  if (!top) return 0;
  // A file of several names counts once.
  return sizeBelow(top, new Set(), signal);
}

async function sizeBelow(dir: FileHandle, seen: Set<number>, signal: AbortSignal): Promise<number> {
  const here = `/proc/self/fd/${dir.fd}`;
  let bytes = 0;
  try {
    for (const name of await readdir(here)) {
      signal.throwIfAborted();
      const path = `${here}/${name}`;
      const found = await lstat(path).catch(ifGone);
      if (!found) continue;
      if (found.nlink > 1 && !found.isDirectory()) {
        if (seen.has(found.ino)) continue;
        seen.add(found.ino);
      }
      bytes += found.blocks * BLOCK_BYTES;
      if (!found.isDirectory()) continue;
      const child = await open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW).catch(ifGone);
      if (child) bytes += await sizeBelow(child, seen, signal);
    }
  } finally {
    await dir.close();
  }
  return bytes;
}

/** It has gone, or something else is in its place now. */
function ifGone(error: NodeJS.ErrnoException): undefined {
  if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(error.code ?? '')) return undefined;
  throw error;
}
