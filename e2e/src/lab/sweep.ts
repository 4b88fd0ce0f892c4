import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { ended } from './command.js';
import { labCgroup, labDir, ROOT } from './paths.js';
import { waitFor } from './wait.js';

/**
 * Finishes the end of a lab whose owner is gone: waits for its janitor, or does the janitor's work where that
 * was killed too. A lab that is up is left alone.
 */
export async function sweepLab(name: string): Promise<void> {
  const dir = labDir(name);
  if (!existsSync(`${dir}/owner`)) return;
  const [owner, janitor] = readFileSync(`${dir}/owner`, 'utf8').trim().split(' ');
  if (isAlive(owner)) return;
  if (isAlive(janitor)) {
    await waitFor(`the end of lab ${name}`, () => !existsSync(dir) || !isAlive(janitor));
  }
  if (existsSync(dir)) {
    await ended(spawn(`${ROOT}e2e/lab/janitor.sh`, [dir, labCgroup(name)], { stdio: 'ignore' }));
  }
}

/** A zombie is dead, though it has a pid still. */
function isAlive(pid: string | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
