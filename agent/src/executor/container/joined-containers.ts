import { ClusterError } from '@tessera/shared/errors';
import type { Join } from './namespaces.js';

/** What is asked of a container whose namespaces another one joins. */
export interface Lender {
  /** Undefined before it has been created. */
  readonly hostname: string | undefined;
  /** Whose `hosts`, `resolv.conf` and `hostname` it has: its own, or those of the one that it joins in turn. */
  readonly filesOf: string;
  readonly isRunning: boolean;
  /** Whether its IPC and /dev/shm may be joined. */
  readonly isIpcShareable: boolean;
  /** The SELinux label of its commands; empty: none. */
  readonly processLabel: string;
}

/** One that is not here. */
export const NO_LENDER: Omit<Lender, 'filesOf'> = {
  hostname: undefined,
  isRunning: false,
  isIpcShareable: false,
  processLabel: '',
};

/**
 * @throws ClusterError when one of them does not run, or keeps its IPC to itself: in Docker's words. Source: moby,
 *   daemon/container_operations_unix.go, daemon/oci_linux.go
 */
export function assertJoinable(joins: readonly Join[], lender: (containerId: string) => Lender): void {
  for (const { kind, containerId } of joins) {
    const { isRunning, isIpcShareable } = lender(containerId);
    if (!isRunning) throw notRunning(kind, containerId);
    if (kind === 'ipc' && !isIpcShareable) throw notShareable();
  }
}

const PREFIX = { pid: 'failed to join PID namespace: ', ipc: 'failed to join IPC namespace: ' } as const;

function notRunning(kind: Join['kind'], containerId: string): ClusterError {
  return new ClusterError(
    'conflict',
    kind === 'network'
      ? `cannot join network of a non running container: ${containerId}`
      : `${PREFIX[kind]}container ${containerId} is not running`,
  );
}

const notShareable = (): ClusterError =>
  new ClusterError(
    'internal',
    `${PREFIX.ipc}non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
  );

/** What a shim says that was refused the namespaces of a container that had just ended. */
export function lendingFailed(joins: readonly Join[], containerId: string, errno: string): ClusterError {
  if (errno === 'EXDEV') return notShareable();
  if (errno === 'ENOSYS')
    return new ClusterError(
      'failedPrecondition',
      `container ${containerId} was started by an earlier version of this host's agent and cannot be joined: restart it`,
    );
  const join = joins.find((each) => each.containerId === containerId);
  return notRunning(join?.kind ?? 'network', containerId);
}
