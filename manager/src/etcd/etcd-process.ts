import { spawn } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { readLivePidFile, writePidFile } from '@tessera/shared/process';
import { type MemberOptions, memberFlags } from './flags.js';

/** One etcd process, started by this manager or by its previous life. */
export interface EtcdProcess {
  readonly pid: number;
  /** Clock ticks after boot: with the pid it names one process for as long as the host runs. */
  readonly startTime: string;
}

const pidFile = (runDir: string): string => join(runDir, 'etcd.pid');
export const logFile = (dataDir: string): string => `${dataDir}.log`;

/**
 * The etcd that already serves this data directory, if one does.
 *
 * A manager killed between starting etcd and noting its pid leaves no pid file; so whatever the file does not
 * tell, the list of processes does.
 */
export function findEtcd({ dataDir, runDir }: MemberOptions): EtcdProcess | undefined {
  const noted = readPidFile(runDir);
  if (noted && isAlive(noted) && serves(noted.pid, dataDir)) return noted;
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || !serves(pid, dataDir)) continue;
    const startTime = startTimeOf(pid);
    if (startTime !== undefined) return notePid(runDir, { pid, startTime });
  }
  return undefined;
}

/**
 * Starts etcd in a session of its own, so that it lives on when the manager is killed.
 *
 * @param command the program, and whatever it is run by
 * @param onExit called when this process is still there to see it end
 */
export function spawnEtcd(
  command: readonly string[],
  member: MemberOptions,
  onExit: () => void,
): Promise<EtcdProcess> {
  const [program, ...args] = [...command, ...memberFlags(member)];
  const log = openSync(logFile(member.dataDir), 'a', 0o600);
  return new Promise((resolve, reject) => {
    const child = spawn(program!, args, { cwd: member.runDir, detached: true, stdio: ['ignore', log, log] });
    closeSync(log);
    child.once('error', reject);
    child.once('exit', onExit);
    child.once('spawn', () => {
      child.unref();
      // A child that has not been waited for still has its entry, even if it has ended already.
      resolve(notePid(member.runDir, { pid: child.pid!, startTime: startTimeOf(child.pid!, true) ?? '' }));
    });
  });
}

export function isAlive({ pid, startTime }: EtcdProcess): boolean {
  return startTimeOf(pid) === startTime;
}

/** Signals this very process, or nobody when it has ended. */
export function signalEtcd(etcd: EtcdProcess, signal: NodeJS.Signals): void {
  if (!isAlive(etcd)) return;
  try {
    process.kill(etcd.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

export const forgetPid = (runDir: string): void => rmSync(pidFile(runDir), { force: true });

function readPidFile(runDir: string): EtcdProcess | undefined {
  const noted = readLivePidFile(pidFile(runDir));
  return noted && { pid: noted.pid, startTime: String(noted.startTicks) };
}

/** In the form that `tsd` reads too: it ends what a leaving node's manager has left. */
function notePid(runDir: string, etcd: EtcdProcess): EtcdProcess {
  // One that ended at once needs no note, and would get none.
  if (isAlive(etcd)) writePidFile(pidFile(runDir), etcd.pid);
  return etcd;
}

/** Whether a process is an etcd on this data directory, by its command line. */
function serves(pid: number, dataDir: string): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return words.includes(`--data-dir=${dataDir}`) && startTimeOf(pid) !== undefined;
  } catch {
    return false;
  }
}

/** Field 22 of /proc/PID/stat, proc(5); undefined for a process that is gone or (unless asked for) a zombie. */
function startTimeOf(pid: number, zombies = false): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name, in parentheses, may hold anything; what follows it does not.
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (state === 'Z' || state === 'X') && !zombies ? undefined : fields[18];
  } catch {
    return undefined;
  }
}
