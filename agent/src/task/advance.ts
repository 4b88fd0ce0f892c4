import { errorText, isCancelled, isTemporary } from '@tessera/shared/errors';
import type { ContainerStatus, TaskState, TaskStatus } from '@tessera/shared/model';
import { isBefore, isTerminal } from '@tessera/shared/model';
import { type Controller, type ExitStatus, StartError } from '../executor/executor.js';

/** What the work of a step has found out. */
interface Outcome {
  readonly state: TaskState;
  readonly message: string;
  readonly error?: string;
  readonly exit?: ExitStatus;
}

interface Step {
  readonly to: TaskState;
  /** What the status says once it is there; Swarm's words, which people know from `service ps`. */
  readonly message: string;
  /** The work that carries the task there; none when the step is only a mark on the way. */
  readonly work?: (controller: Controller, signal: AbortSignal) => Promise<Outcome | undefined>;
}

const STEPS: Partial<Record<TaskState, Step>> = {
  assigned: { to: 'accepted', message: 'accepted' },
  accepted: { to: 'preparing', message: 'preparing' },
  preparing: { to: 'ready', message: 'prepared', work: (c, signal) => c.prepare(signal).then(nothing) },
  ready: { to: 'starting', message: 'starting' },
  starting: {
    to: 'running',
    message: 'started',
    work: (c, signal) =>
      c
        .start(signal)
        .then(() => c.ready(signal))
        .then(nothing),
  },
  running: {
    to: 'complete',
    message: 'finished',
    work: async (controller, signal) => outcomeOfExit(await controller.wait(signal)),
  },
};

const SHUTDOWN: Step = {
  to: 'shutdown',
  message: 'shutdown',
  // Whatever code it ends with: that it ended was asked for.
  work: async (controller, signal) => {
    const exit = await controller.shutdown(signal);
    return { state: 'shutdown', message: 'shutdown', ...(exit && { exit }) };
  },
};

/** The next step from here towards `desired`, or undefined while there is none to take. */
export function nextStep(observed: TaskState, desired: TaskState): Step | undefined {
  if (isTerminal(observed)) return undefined;
  if (!isBefore(desired, 'shutdown')) return SHUTDOWN;

  const step = STEPS[observed];
  // Work under way goes on to its end; a mere mark waits until more is desired.
  const paused = step?.work ? isBefore(desired, observed) : !isBefore(observed, desired);
  return paused ? undefined : step;
}

/** A step's result: a status further on, the same one (interrupted), or one to be tried again later. */
export interface Advance {
  readonly status: TaskStatus;
  /** The step failed in a way that may pass; the same step is due again. */
  readonly retry: boolean;
}

/**
 * Takes one step and returns the status to report. Safe to repeat after a crash.
 *
 * @param signal a change of desired state aborts the work; the status is then as it was
 */
export async function advance(
  status: TaskStatus,
  desired: TaskState,
  controller: Controller,
  signal: AbortSignal,
): Promise<Advance> {
  const step = nextStep(status.state, desired);
  if (!step) return { status, retry: false };

  try {
    const outcome = (await step.work?.(controller, signal)) ?? { state: step.to, message: step.message };
    return { status: withOutcome(status, outcome, controller.status()), retry: false };
  } catch (error) {
    if (signal.aborted || isCancelled(error)) return { status, retry: false };
    if (isTemporary(error) || step === SHUTDOWN)
      // A shutdown that failed leaves something running: it is never given up.
      return { status: { ...status, error: errorText(error) }, retry: true };
    return { status: withOutcome(status, failure(status.state, error), controller.status()), retry: false };
  }
}

/** A task that never ran is rejected; one that did, or whose command could not be run, has failed. */
function failure(state: TaskState, error: unknown): Outcome {
  const exit = error instanceof StartError ? { exitCode: error.exitCode } : undefined;
  return {
    state: isBefore(state, 'starting') ? 'rejected' : 'failed',
    message: `${state} failed`,
    error: errorText(error),
    ...(exit && { exit: { ...exit, oomKilled: false, finishedAtMs: 0 } }),
  };
}

/** Source for the text: swarmkit's `exitError`. */
function outcomeOfExit(exit: ExitStatus): Outcome {
  if (exit.exitCode === 0 && !exit.error) return { state: 'complete', message: 'finished', exit };
  const why = exit.error ?? (exit.oomKilled ? 'out of memory' : undefined);
  const error = `task: non-zero exit (${exit.exitCode})${why ? `: ${why}` : ''}`;
  return { state: 'failed', message: 'started', error, exit };
}

function withOutcome(
  status: TaskStatus,
  { state, message, error, exit }: Outcome,
  container: ContainerStatus | undefined,
): TaskStatus {
  const known = container ?? status.container;
  return {
    ...status,
    state,
    message,
    error: error ?? '',
    container: exit ? withExit(known, exit) : known,
  };
}

function withExit(container: ContainerStatus | undefined, exit: ExitStatus): ContainerStatus {
  return {
    containerId: container?.containerId ?? '',
    pid: 0,
    startedAtMs: container?.startedAtMs ?? 0,
    exitCode: exit.exitCode,
    oomKilled: exit.oomKilled,
    finishedAtMs: exit.finishedAtMs,
  };
}

const nothing = (): undefined => undefined;
