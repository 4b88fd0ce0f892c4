import { linkSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ClusterError } from '@tessera/shared/errors';
import { readLivePidFile, writePidFile } from '@tessera/shared/process';

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
  writePidFile(own);
  try {
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
