import type { ContainerState } from '@tessera/shared/model';
import { humanDuration } from '@tessera/shared/units';
import { isRunning } from '../../../controlapi/containers/index.js';

/** Docker's word for where a container is. */
export function stateWord(state: ContainerState, isRemoving: boolean): string {
  if (isRemoving || state.state === 'removed') return 'removing';
  return state.state === 'UNRECOGNIZED' ? 'created' : state.state;
}

/** What `docker ps` shows: "Up 5 minutes (healthy)". Source: moby container/state.go, State.String. */
export function statusText(state: ContainerState, isRemoving: boolean, nowMs: number): string {
  const since = (ms: number) => humanDuration(Math.max(0, nowMs - ms));
  if (isRemoving || state.state === 'removing' || state.state === 'removed') return 'Removal In Progress';
  if (state.state === 'restarting') return `Restarting (${state.exitCode}) ${since(state.finishedAtMs)} ago`;
  if (state.state === 'paused') return `Up ${since(state.startedAtMs)} (Paused)`;
  if (isRunning(state)) {
    const health = healthWord(state);
    const suffix = health === 'none' ? '' : ` (${health === 'starting' ? 'health: starting' : health})`;
    return `Up ${since(state.startedAtMs)}${suffix}`;
  }
  if (state.state === 'dead') return 'Dead';
  if (state.state === 'created' || state.finishedAtMs === 0) return 'Created';
  return `Exited (${state.exitCode}) ${since(state.finishedAtMs)} ago`;
}

export function healthWord({ health }: ContainerState): 'none' | 'starting' | 'healthy' | 'unhealthy' {
  const status = health?.status ?? 'none';
  return status === 'UNRECOGNIZED' ? 'none' : status;
}
