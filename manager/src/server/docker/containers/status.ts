import type { ContainerState } from '@tessera/shared/model';
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

/** Source: docker/go-units HumanDuration. */
export function humanDuration(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.floor(seconds / 3_600 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(seconds / 3_600 / 24 / 365)} years`;
}
