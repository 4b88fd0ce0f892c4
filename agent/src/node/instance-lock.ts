import {
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { ClusterError } from '@tessera/shared/errors';
import { processIdentity, readLivePidFile, writePidFile } from '@tessera/shared/process';

/**
 * Makes this process the only agent of a data directory, for as long as it lives: two would take each other's
 * containers for leftovers. A lock whose holder is dead counts for nothing.
 *
 * @returns a function that gives the lock up
 * @throws ClusterError `failedPrecondition` when another agent holds it
 */
export function takeInstanceLock(dataDir: string): () => void {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'tsd.pid');
  const own = `${path}.${process.pid}`;
  try {
    writeOwn(own, path);
    for (;;) {
      try {
        // link(2) fails if the name is taken: of two agents that start together, one gets it.
        linkSync(own, path);
        return () => rmSync(path, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
        const holder = readLivePidFile(path);
        if (holder)
          throw new ClusterError(
            'failedPrecondition',
            `another tsd (pid ${holder.pid}) uses ${dataDir}: stop it, or give this one a --data-dir of its own`,
          );
        renameSync(path, `${own}.stale`);
        rmSync(`${own}.stale`, { force: true });
      }
    }
  } finally {
    rmSync(own, { force: true });
  }
}

/** On a full disk the dead agent's lock is room enough: no container shall be without an agent for want of a block. */
function writeOwn(own: string, path: string): void {
  try {
    writePidFile(own);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC' || !existsSync(path)) throw error;
    // Somebody lives: the caller finds out who.
    if (readLivePidFile(path)) linkSync(path, own);
    else takeOver(path, own);
  }
}

function takeOver(path: string, own: string): void {
  renameSync(path, own);
  const content = Buffer.from(`${JSON.stringify(processIdentity(process.pid))}\n`);
  const file = openSync(own, 'r+');
  writeSync(file, content, 0, content.length, 0);
  ftruncateSync(file, content.length);
  closeSync(file);
}
