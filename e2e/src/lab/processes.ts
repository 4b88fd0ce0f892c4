import type { LabHost } from './host.js';

/** The processes of a host that a scenario kills or stops, by what they run. */
const PATTERNS = {
  agent: 'agent/dist/main.js',
  manager: 'manager/dist/main.js',
  etcd: '^(/usr/bin/)?etcd ',
  shim: '^([^ ]*/)?ts-shim',
  archive: '^ts-archive ',
} as const;

export type ProcessKind = keyof typeof PATTERNS;

/** Pids inside the host, oldest first. */
export async function pidsOf(host: LabHost, kind: ProcessKind): Promise<number[]> {
  const { stdout } = await host.exec(['pgrep', '-f', PATTERNS[kind]]);
  return stdout.split('\n').filter(Boolean).map(Number);
}

/** Sends a signal to every process of that kind on the host. Gives how many there were. */
export async function signalAll(
  host: LabHost,
  kind: ProcessKind,
  signal: 'KILL' | 'STOP' | 'CONT' | 'TERM',
): Promise<number> {
  const pids = await pidsOf(host, kind);
  // One may be gone by now; that is as good.
  if (pids.length > 0) await host.exec(['kill', `-${signal}`, ...pids.map(String)]);
  return pids.length;
}

/** Sends a signal to one process. */
export const signalOne = (host: LabHost, pid: number, signal: 'KILL' | 'STOP' | 'CONT' | 'TERM') =>
  host.exec(['kill', `-${signal}`, String(pid)]);
