import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { processIdentity } from '@tessera/shared/process';
import type { ImageStore } from '../../../image/image-store.js';
import { ContainerExecutor } from '../container-executor.js';

// A test's process that is killed leaves its containers, their shims and groups, as an agent does. The next process that
// opens a rig removes them, as the next agent would.

const NAME = /^ts-core-(\d+)-\d+$/;
/** The groups' name, which stays when the directory is taken over by another process. */
const PARENT = 'cgroup-parent';

let count = 0;

/** Where a new rig lies. Both names tell whose it is. */
export function rigPlace(): { readonly dir: string; readonly cgroupParent: string } {
  const name = `ts-core-${process.pid}-${count++}`;
  const dir = join(tmpdir(), name);
  mkdirSync(dir, { mode: 0o700 });
  writeFileSync(join(dir, PARENT), `/${name}`);
  return { dir, cgroupParent: `/${name}` };
}

let removal: Promise<void> | undefined;

/** Once in a process, before its first rig: one of its own number that is there already is of an earlier one. */
export const removeDeadRigsOnce = (images: ImageStore): Promise<void> => {
  removal ??= removeDeadRigs(images);
  return removal;
};

/** What cannot be removed is told, and is no fault of the test that happens to run now. */
export async function removeDeadRigs(images: ImageStore): Promise<void> {
  const isFirst = count === 0;
  for (const name of readdirSync(tmpdir())) {
    const pid = Number(NAME.exec(name)?.[1]);
    const isOurs = pid === process.pid && isFirst;
    if (!isOurs && (Number.isNaN(pid) || processIdentity(pid))) continue;
    await removeRig(join(tmpdir(), name), images).catch((error: unknown) => {
      process.emitWarning(
        `${name}, left by a test's process that was killed, cannot be removed: ${errorText(error)}`,
      );
    });
  }
}

async function removeRig(dead: string, images: ImageStore): Promise<void> {
  const dir = join(tmpdir(), `ts-core-${process.pid}-${count++}`);
  try {
    // Of several processes that find it, one takes it over; and dies that one, the next does.
    renameSync(dead, dir);
  } catch {
    return;
  }
  const parent = join(dir, PARENT);
  if (existsSync(parent)) {
    const executor = await ContainerExecutor.open({
      dataDir: join(dir, 'data'),
      runDir: join(dir, 'run'),
      cgroupParent: readFileSync(parent, 'utf8'),
      images,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
    });
    await executor.recover(new Set());
    await executor.idle();
    await executor.cgroups.removeParent();
  }
  for (const path of mountsBelow(dir)) execFileSync('umount', ['-l', path]);
  rmSync(dir, { recursive: true, force: true });
}

/** What tests have mounted there, the deeper first. */
const mountsBelow = (dir: string): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${dir}/`))
    .reverse();
