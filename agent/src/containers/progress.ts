import type { ContainerState } from '@tessera/shared/model';
import { Event, ContainerState as StateMessage } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { ExitStatus } from '../executor/executor.js';
import type { ContainerMemory, StoredContainer } from '../storage/index.js';
import type { Refusal } from './plan.js';
import { comesBack, nextBackoffMs } from './restart-policy.js';
import type { ContainerLabels, LocalFacts } from './runtime.js';

// What a step does to what is written down of a container. Pure: the loop writes, then reports.

/** State and memory after a step. */
export interface Progress {
  readonly state: ContainerState;
  readonly memory: ContainerMemory;
}

/** Of a container that has just been assigned. */
export function firstProgress(
  { container, placement }: ContainerAssignment,
  bootId: string,
  nowMs: number,
): Progress {
  const place = { nodeId: placement?.nodeId ?? '', epoch: placement?.epoch ?? 0 };
  const memory = { stoppedByUser: false, staysDown: false, backoffMs: 0, bootId, removed: false };
  const former = placement?.former;
  if (former) return movedHere({ ...former, ...place }, memory, nowMs);
  return {
    state: StateMessage.create({ containerId: container!.id, state: 'created', ...place }),
    memory,
  };
}

/** What ran on the node that was lost ended with it, and runs again here; all else is as it was there. */
function movedHere(former: ContainerState, memory: ContainerMemory, nowMs: number): Progress {
  const { starts, exits } = former;
  const here = {
    ...labelled(former, undefined),
    pid: 0,
    localNetworks: [],
    ports: [],
    events: [],
    health: undefined,
  };
  const arriving = { ...memory, arriving: true };
  const hasRun = starts > 0;
  if (starts === exits && former.state !== 'restarting')
    return { state: { ...here, state: hasRun ? 'exited' : 'created' }, memory: arriving };
  const isLost = starts > exits;
  const sequence = nextSequence(former, nowMs);
  const ended = { exits: starts, exitCode: 255, error: 'its node was lost', finishedAtMs: nowMs };
  return {
    state: { ...here, state: 'restarting', sequence, ...(isLost && ended) },
    memory: { ...arriving, restartAtMs: nowMs },
  };
}

/** It has been made on this node: nobody asked for that, so it is told by itself. */
export function arrived({ state, memory }: StoredContainer, labels: ContainerLabels | undefined): Progress {
  const { arriving: _, ...rest } = memory;
  return { state: labelled(state, labels), memory: rest };
}

/** Work on the target's generation begins. What the user asks for outweighs a restart that was due. */
export function begun({ assignment, state, memory }: StoredContainer): Progress {
  const { verb, generation } = assignment.container!.target!;
  const next = { ...memory, underWay: { generation, starts: state.starts } };
  if (verb === 'stop' || verb === 'restart')
    return { state, memory: { ...withoutRestart(next), staysDown: true, stoppedByUser: verb === 'stop' } };
  if (verb === 'start') return { state, memory: { ...withoutRestart(next), stoppedByUser: false } };
  return { state, memory: next };
}

/** It runs: started by the user, or again by its policy. */
export function started({ state, memory }: StoredContainer, pid: number, startedAtMs: number): Progress {
  const byPolicy = memory.restartAtMs !== undefined;
  return {
    state: {
      ...state,
      state: 'running',
      pid,
      exitCode: 0,
      error: '',
      oomKilled: false,
      startedAtMs,
      starts: state.starts + 1,
      restartCount: byPolicy ? state.restartCount + 1 : 0,
    },
    memory: {
      ...withoutRestart(memory),
      staysDown: false,
      stoppedByUser: byPolicy ? memory.stoppedByUser : false,
      backoffMs: byPolicy ? memory.backoffMs : 0,
    },
  };
}

/** What it was given here when it was made. */
export const labelled = (state: ContainerState, labels: ContainerLabels | undefined): ContainerState => ({
  ...state,
  processLabel: labels?.process ?? '',
  mountLabel: labels?.mount ?? '',
});

/** What it got here, once it runs. */
export function placed(state: ContainerState, { networks, ports }: LocalFacts): ContainerState {
  return { ...state, localNetworks: networks, ports };
}

/** How something ended that ran, and of which nothing is left. */
export const lost = (nowMs: number): ExitStatus => ({
  exitCode: 255,
  oomKilled: false,
  finishedAtMs: nowMs,
  error: 'lost: neither its processes nor a word of its end were found',
});

/** It has ended; its policy says whether it comes back. */
export function exited(
  { assignment, state, memory }: StoredContainer,
  exit: ExitStatus,
  nowMs: number,
): Progress {
  const { exitCode, oomKilled, finishedAtMs, error = '' } = exit;
  const ended: ContainerState = {
    ...state,
    state: 'exited',
    pid: 0,
    exitCode,
    oomKilled,
    error,
    finishedAtMs,
    exits: state.exits + 1,
    localNetworks: [],
    ports: [],
  };
  const { stoppedByUser } = memory;
  const { restartCount } = state;
  const policy = assignment.container!.host?.restart;
  const down = withoutRestart(memory);
  if (memory.staysDown || !comesBack(policy, { exitCode, stoppedByUser, restartCount }))
    return { state: ended, memory: down };
  const backoffMs = nextBackoffMs(memory.backoffMs, finishedAtMs - state.startedAtMs);
  return {
    state: { ...ended, state: 'restarting' },
    memory: { ...down, backoffMs, restartAtMs: nowMs + backoffMs },
  };
}

/** It could not be started: Docker keeps it as it was, with the code and the reason. */
export function notStarted({ state, memory }: StoredContainer, exitCode: number, error: string): Progress {
  return {
    state: { ...state, state: state.starts > 0 ? 'exited' : 'created', exitCode, error, pid: 0 },
    memory: withoutRestart(memory),
  };
}

/** A start by policy that failed for now is due again, later each time. */
export function startPutOff({ state, memory }: StoredContainer, error: string, nowMs: number): Progress {
  const backoffMs = nextBackoffMs(memory.backoffMs, 0);
  return { state: { ...state, error }, memory: { ...memory, backoffMs, restartAtMs: nowMs + backoffMs } };
}

/** The target's generation is done, or refused. */
export function answered({ assignment, state, memory }: StoredContainer, refusal?: Refusal): Progress {
  const { underWay: _, ...rest } = memory;
  return {
    state: {
      ...state,
      generation: assignment.container!.target!.generation,
      generationError: refusal?.message ?? '',
      generationErrorKind: refusal?.kind ?? '',
    },
    memory: rest,
  };
}

/** A stop that finds it waiting for its restart. */
export function restartGivenUp(stored: StoredContainer): Progress {
  return { ...begun(stored), state: { ...stored.state, state: 'exited' } };
}

/** After a boot, only a restart policy starts anything again: `always` also what the user had stopped. */
export function afterBoot(
  { assignment, state, memory }: StoredContainer,
  bootId: string,
  nowMs: number,
): Progress {
  const { restartAtMs: _, ...rest } = memory;
  const next = { ...rest, bootId, staysDown: false, backoffMs: 0 };
  const { exitCode, starts, exits, restartCount } = state;
  // What still counts as running is found ended, and then decided on by its exit.
  const isDown = starts > 0 && starts === exits;
  const { stoppedByUser } = memory;
  if (!isDown || !comesBack(assignment.container!.host?.restart, { exitCode, stoppedByUser, restartCount }))
    return { state, memory: next };
  return {
    state: { ...state, state: 'restarting', sequence: nextSequence(state, nowMs) },
    memory: { ...next, restartAtMs: nowMs },
  };
}

/** A signal from the user counts as a stop, once the container has ended. Source: moby, daemon/kill.go. */
export function killedByUser({ state, memory }: StoredContainer, isFinal: boolean): Progress {
  const next = { ...memory, stoppedByUser: true, staysDown: memory.staysDown || isFinal };
  if (!isFinal || memory.restartAtMs === undefined) return { state, memory: next };
  return { state: { ...state, state: 'exited' }, memory: withoutRestart(next) };
}

/** What happened to it besides, in Docker's words; it is numbered when it is written down. */
export function noted(
  { state, memory }: StoredContainer,
  action: string,
  attributes: Readonly<Record<string, string>>,
  atMs: number,
): Progress {
  return {
    state: { ...state, events: [...state.events, Event.fromPartial({ action, attributes, atMs })] },
    memory,
  };
}

/** More than these are forgotten, oldest first, when no manager takes them. */
const EVENTS_MAX = 256;

/**
 * A state about to be written down: what happened has the number of the first state that tells of it, and is told until
 * a manager has acknowledged that one.
 */
export function numbered(state: ContainerState, sequence: number, acknowledged: number): ContainerState {
  const events = state.events
    .map((event) => (event.number > 0 ? event : { ...event, number: sequence }))
    .filter(({ number }) => number > acknowledged)
    .slice(-EVENTS_MAX);
  return { ...state, sequence, events };
}

/** It is gone from this host; what still ran was ended for that. */
export function removed({ state, memory }: StoredContainer, nowMs: number): Progress {
  const { starts, exits } = state;
  const end = starts > exits ? { exits: starts, exitCode: 137, finishedAtMs: nowMs } : {};
  return {
    state: { ...state, ...end, state: 'removed', pid: 0, localNetworks: [], ports: [] },
    memory: { ...memory, removed: true },
  };
}

/** By the clock, so that a state after a power cut, which may have lost the newest records, still counts as newer. */
export const nextSequence = ({ sequence }: ContainerState, nowMs: number): number =>
  Math.max(sequence + 1, nowMs);

function withoutRestart(memory: ContainerMemory): ContainerMemory {
  const { restartAtMs: _, ...rest } = memory;
  return rest;
}
