import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Random } from '@tessera/shared/env';

/**
 * Where everything lies that is not whole yet. It is on the file system of what it becomes, so that becoming it
 * is a rename, and it is emptied at start: whatever a crash has left in it is of no use.
 */
export class ScratchSpace {
  constructor(
    private readonly directory: string,
    private readonly random: Random,
  ) {}

  async clear(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
  }

  /** A path that nothing has yet. */
  newPath(what: string): string {
    return join(this.directory, `${what}-${this.random.bytes(8).toString('hex')}`);
  }

  /** Runs `work` with a directory of its own, and removes it with all in it. */
  async withDirectory<T>(what: string, work: (path: string) => Promise<T>): Promise<T> {
    const path = this.newPath(what);
    await mkdir(path, { mode: 0o755 });
    try {
      return await work(path);
    } finally {
      await rm(path, { recursive: true, force: true, maxRetries: 5 });
    }
  }
}
