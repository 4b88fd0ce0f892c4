import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** A process, so named that a later one with the same pid is not taken for it. */
export interface ProcessIdentity {
  readonly pid: number;
  /** When it started, in clock ticks since boot: field 22 of /proc/PID/stat (proc(5)). */
  readonly startTicks: number;
  /** Pids and ticks mean nothing after the next boot. */
  readonly bootId: string;
}

/** Undefined when there is no such process, or only its zombie. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The command name may hold spaces and parentheses: fields are counted after its last one.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { pid, startTicks: Number(fields[19]), bootId: bootId() };
  } catch {
    return undefined;
  }
}

export const bootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();

/** Whether the very process named still runs. */
export function isAlive(identity: ProcessIdentity): boolean {
  const now = processIdentity(identity.pid);
  return now !== undefined && now.startTicks === identity.startTicks && now.bootId === identity.bootId;
}

/** Writes who runs, by rename: a reader sees the old content or the new one, never half. */
export function writePidFile(path: string, pid = process.pid): ProcessIdentity {
  const identity = processIdentity(pid);
  if (!identity) throw new Error(`process ${pid} is gone`);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${JSON.stringify(identity)}\n`, { mode: 0o600 });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  return identity;
}

/** The process a pid file names, if it still runs. Undefined for a missing, torn or outdated file. */
export function readLivePidFile(path: string): ProcessIdentity | undefined {
  try {
    const identity = JSON.parse(readFileSync(path, 'utf8')) as Partial<ProcessIdentity>;
    if (!Number.isSafeInteger(identity.pid) || !Number.isSafeInteger(identity.startTicks)) return undefined;
    return isAlive(identity as ProcessIdentity) ? (identity as ProcessIdentity) : undefined;
  } catch {
    return undefined;
  }
}
