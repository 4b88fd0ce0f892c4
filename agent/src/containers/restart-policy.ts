import type { ContainerRestartPolicy } from '@tessera/shared/model';

// When a container comes back by itself, and after how long. Source: moby, daemon/internal/restartmanager.

const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 60_000;
/** A run of this length is no failure in a row. */
const LASTING_MS = 10_000;

/** How a container ended, and what its policy has done so far. */
export interface Ending {
  readonly exitCode: number;
  readonly stoppedByUser: boolean;
  /** Restarts by policy since the user last started it. */
  readonly restartCount: number;
}

export function comesBack(policy: ContainerRestartPolicy | undefined, ending: Ending): boolean {
  switch (policy?.name) {
    case 'always':
      return true;
    case 'unless_stopped':
      return !ending.stoppedByUser;
    case 'on_failure':
      return ending.exitCode !== 0 && (policy.maxRetries === 0 || ending.restartCount < policy.maxRetries);
    default:
      return false;
  }
}

/** How long the next restart waits: from 100 ms, doubling to a minute; anew after a run that lasted. */
export function nextBackoffMs(lastMs: number, ranForMs: number): number {
  if (lastMs === 0 || ranForMs >= LASTING_MS) return BACKOFF_MIN_MS;
  return Math.min(lastMs * 2, BACKOFF_MAX_MS);
}
