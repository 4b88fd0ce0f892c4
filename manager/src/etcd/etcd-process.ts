import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import {
  isAlive,
  type ProcessIdentity,
  processIdentity,
  readLivePidFile,
  writePidFile,
} from '@tessera/shared/process';
import { type MemberOptions, memberFlags, SOCKETS } from './flags.js';

/** Read by the next manager, and by `tsd`, which ends what a leaving node's manager has left. */
const pidFile = (runDir: string): string => join(runDir, 'etcd.pid');
/** There from before etcd's first start until it serves. */
const firstStartFile = (dataDir: string): string => `${dataDir}.first-start`;
export const logFile = (dataDir: string): string => `${dataDir}.log`;

/**
 * The etcd that already serves this data directory, if one does.
 *
 * A manager killed between starting etcd and noting its pid leaves no pid file; so whatever the file does not
 * tell, the list of processes does.
 */
export function findEtcd({ dataDir, runDir }: MemberOptions): ProcessIdentity | undefined {
  const noted = readLivePidFile(pidFile(runDir));
  if (noted && serves(noted.pid, dataDir)) return noted;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || !serves(pid, dataDir)) continue;
    return writePidFile(pidFile(runDir), pid);
  }
  return undefined;
}

/**
 * Starts etcd in a session of its own, so that it lives on when the manager is killed. None serves this data
 * directory yet: see `findEtcd`.
 *
 * @param command the program, and whatever it is run by
 * @param onExit called when this process is still there to see it end
 * @returns undefined when it has ended already
 */
export function spawnEtcd(
  command: readonly string[],
  member: MemberOptions,
  onExit: () => void,
): Promise<ProcessIdentity | undefined> {
  const [program, ...args] = [...command, ...memberFlags(member)];
  clearRemains(member);
  const log = openSync(logFile(member.dataDir), 'a', 0o600);
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, { cwd: member.runDir, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    child.once('error', reject);
    child.once('exit', onExit);
    child.once('spawn', () => {
      child.unref();
      try {
        resolve(writePidFile(pidFile(member.runDir), child.pid));
      } catch (error) {
        if (processIdentity(child.pid!)) reject(error);
        else resolve(undefined);
      }
    });
  });
}

/** Takes away what a killed etcd left that keeps another one from serving. */
function clearRemains({ dataDir, runDir }: MemberOptions): void {
  // It cannot listen where there is a socket already.
  for (const socket of SOCKETS) rmSync(join(runDir, socket), { force: true });
  // Killed while it made its first log, before the entry that makes it a member of its own cluster, it never finds
  // a leader again (seen with 3.4.23). Nobody has written to a data directory that has never served.
  if (existsSync(firstStartFile(dataDir))) rmSync(dataDir, { recursive: true, force: true });
  if (!existsSync(join(dataDir, 'member'))) writeFileSync(firstStartFile(dataDir), '', { mode: 0o600 });
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
}

/** etcd serves: from here on its data is kept, whatever happens. */
export const noteServing = (dataDir: string): void => rmSync(firstStartFile(dataDir), { force: true });

/** Signals this very process, or nobody when it has ended. */
export function signalEtcd(etcd: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isAlive(etcd)) return;
  try {
    process.kill(etcd.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export const forgetPid = (runDir: string): void => rmSync(pidFile(runDir), { force: true });

/** Whether a process is an etcd on this data directory, by its command line. */
function serves(pid: number, dataDir: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.includes(`--data-dir=${dataDir}`);
  } catch {
    return false;
  }
}
