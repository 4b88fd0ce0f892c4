import { invalid } from '@tessera/shared/errors';
import type { HostConfig } from '@tessera/shared/model';

// Whose namespaces a container has: its own, the host's, or another container's.

/** CLONE_NEW* of clone(2). */
const NEW = {
  mount: 0x00020000,
  cgroup: 0x02000000,
  uts: 0x04000000,
  ipc: 0x08000000,
  pid: 0x20000000,
  network: 0x40000000,
} as const;

export type NetworkKind = 'own' | 'none' | 'host' | 'joined';
export type JoinedKind = 'pid' | 'ipc' | 'network';

/** Another container's namespace. */
export interface Join {
  readonly kind: JoinedKind;
  readonly containerId: string;
  /** CLONE_NEW*. */
  readonly flag: number;
}

export interface Namespaces {
  /** CLONE_NEW* flags of those that are made for it. */
  readonly made: number;
  readonly network: NetworkKind;
  readonly pid: 'own' | 'host' | 'joined';
  /** `shareable` is its own, which others may join; `none` comes without /dev/shm. */
  readonly ipc: 'private' | 'shareable' | 'none' | 'host' | 'joined';
  readonly ownUts: boolean;
  readonly joins: readonly Join[];
}

/** All of them its own. */
export const OWN_NAMESPACES: Namespaces = {
  made: Object.values(NEW).reduce((sum, flag) => sum | flag, 0),
  network: 'own',
  pid: 'own',
  ipc: 'private',
  ownUts: true,
  joins: [],
};

/** @throws ClusterError `invalidArgument` for a mode that there is not, in Docker's words */
export function namespacesOf(host: HostConfig): Namespaces {
  const { networkMode, pidMode, ipcMode, utsMode, cgroupnsMode } = host;
  assertMode(pidMode, ['', 'private', 'host'], 'PID');
  assertMode(ipcMode, ['', 'private', 'shareable', 'none', 'host'], 'IPC');
  assertMode(utsMode, ['', 'private', 'host'], 'UTS', false);
  assertMode(cgroupnsMode, ['', 'private', 'host'], 'cgroup namespace', false);
  const joins = [...joined('network', networkMode), ...joined('pid', pidMode), ...joined('ipc', ipcMode)];
  const isJoined = (kind: JoinedKind) => joins.some((join) => join.kind === kind);
  let made = OWN_NAMESPACES.made;
  if (networkMode === 'host' || isJoined('network')) made &= ~NEW.network;
  if (pidMode === 'host' || isJoined('pid')) made &= ~NEW.pid;
  if (ipcMode === 'host' || isJoined('ipc')) made &= ~NEW.ipc;
  if (utsMode === 'host') made &= ~NEW.uts;
  // On cgroup v1 Docker's default is the host's; ours is a private one everywhere, which shows less.
  if (cgroupnsMode === 'host') made &= ~NEW.cgroup;
  return {
    made,
    network: networkKind(networkMode),
    pid: pidMode === 'host' ? 'host' : isJoined('pid') ? 'joined' : 'own',
    ipc: isJoined('ipc') ? 'joined' : (IPC_KINDS[ipcMode] ?? 'private'),
    ownUts: utsMode !== 'host',
    joins,
  };
}

const IPC_KINDS: Readonly<Record<string, 'shareable' | 'none' | 'host'>> = {
  shareable: 'shareable',
  none: 'none',
  host: 'host',
};

export function networkKind(mode: string): NetworkKind {
  if (mode === 'host' || mode === 'none') return mode;
  return mode.startsWith(JOIN) ? 'joined' : 'own';
}

const JOIN = 'container:';

const joined = (kind: JoinedKind, mode: string): Join[] =>
  mode.startsWith(JOIN) ? [{ kind, containerId: mode.slice(JOIN.length), flag: NEW[kind] }] : [];

function assertMode(mode: string, known: readonly string[], what: string, joins = true): void {
  if (known.includes(mode) || (joins && mode.length > JOIN.length && mode.startsWith(JOIN))) return;
  throw invalid(`invalid ${what} mode: ${mode}`);
}
