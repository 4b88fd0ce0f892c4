import type { ErrorKind } from '@tessera/shared/errors';
import type { ContainerState, ContainerTarget } from '@tessera/shared/model';
import type { ExitStatus } from '../executor/executor.js';
import type { StoredContainer } from '../storage/index.js';
import type { ContainerLife } from './runtime.js';

/** Everything the next step is decided by. */
export interface View extends StoredContainer {
  /** False: its object is gone, or it is on another node. */
  readonly assigned: boolean;
  /** What the runtime core says. */
  readonly life: ContainerLife;
  readonly nowMs: number;
  /** Clients are attached, or still to be served what it wrote last. */
  readonly isAttached: boolean;
  /** A manager has said so in this life of the agent: what may run on another node by now is not started before. */
  readonly isConfirmed: boolean;
}

/** Why a generation was answered with something else than "done". */
export interface Refusal {
  readonly kind: ErrorKind;
  readonly message: string;
}

/** One change that brings a container closer to what is wanted. */
export type Step =
  /** Image, directories and spec. */
  | { readonly kind: 'create' }
  /** The runtime has started it, and that has not been written down; `answers` where that was what is asked. */
  | { readonly kind: 'noteStart'; readonly answers: boolean }
  /** It has ended, and that has not been written down. */
  | { readonly kind: 'noteExit' }
  /** Writes down that work on a generation begins, so that the next agent knows what it finds was asked for. */
  | { readonly kind: 'begin' }
  | { readonly kind: 'start'; readonly byPolicy: boolean }
  | { readonly kind: 'stop'; readonly target: ContainerTarget }
  | { readonly kind: 'pause' }
  | { readonly kind: 'unpause' }
  | { readonly kind: 'update' }
  /** The generation is done, or refused. */
  | { readonly kind: 'answer'; readonly refusal?: Refusal }
  /** It waited for its policy to start it again; now it does not. */
  | { readonly kind: 'giveUpRestart' }
  /** Takes everything of it off this host: its user asks for it, or it is one of `--rm` and has ended. */
  | { readonly kind: 'remove' }
  /** Gone, and nobody asks for it any more: the record goes too. */
  | { readonly kind: 'forget' }
  /** Nothing to do, until something changes or this time has come. */
  | { readonly kind: 'wait'; readonly untilMs?: number };

/** Decides the next step from what is wanted and what is; the same one again after a crash at any line. */
export function plan(view: View): Step {
  const { assigned, assignment, memory, life, state } = view;
  const container = assignment.container!;
  if (!assigned || container.removing) {
    if (!memory.removed) return { kind: 'remove' };
    return assigned ? WAIT : { kind: 'forget' };
  }
  if (memory.removed) return WAIT;

  const hasUnnoted = isUp(life) || (life.kind === 'exited' && !isNoted(life.exit, state));
  if (hasUnnoted && state.starts === state.exits) return { kind: 'noteStart', answers: startAnswers(view) };
  if (!isUp(life) && state.starts > state.exits) return { kind: 'noteExit' };

  if (container.rescheduleOnNodeFailure && !view.isConfirmed) return WAIT;
  if (life.kind === 'none' && memory.arriving) return { kind: 'create' };
  const target = container.target;
  if (target && target.generation > state.generation) return answering(view, target);
  if (memory.restartAtMs === undefined) return mayGo(view) ? { kind: 'remove' } : WAIT;
  return memory.restartAtMs <= view.nowMs
    ? { kind: 'start', byPolicy: true }
    : { kind: 'wait', untilMs: memory.restartAtMs };
}

/** Whether this end has been written down: its time is read from the record, in milliseconds, and may be rounded. */
const isNoted = (exit: ExitStatus, { finishedAtMs }: ContainerState): boolean =>
  Math.abs(exit.finishedAtMs - finishedAtMs) <= 1;

const WAIT: Step = { kind: 'wait' };
const DONE: Step = { kind: 'answer' };

/**
 * One of `--rm`, after an end that no restart follows or a start that failed. Its state says how it ended until a manager
 * has stored that, so nobody has to be waited for but those who are attached.
 */
function mayGo({ assignment, life, state, isAttached }: View): boolean {
  const isOver = !isUp(life) && (state.exits > 0 || state.error !== '');
  return isOver && !isAttached && assignment.container!.host?.autoRemove === true;
}

/** The start that has just been seen is the one that its user waits for. */
function startAnswers({ assignment, memory, state }: View): boolean {
  const { target } = assignment.container!;
  return (
    target !== undefined &&
    target.generation > state.generation &&
    memory.underWay?.generation === target.generation &&
    (target.verb === 'start' || target.verb === 'restart')
  );
}

/** It has a process, perhaps a frozen one. */
export const isUp = ({ kind }: ContainerLife): boolean => kind === 'running' || kind === 'paused';

const refused = (kind: ErrorKind, message: string): Step => ({ kind: 'answer', refusal: { kind, message } });

/** The step towards a generation that has not been answered. Texts are Docker's. */
function answering(view: View, target: ContainerTarget): Step {
  const { life, memory, state } = view;
  const id = state.containerId;
  const begun = memory.underWay?.generation === target.generation ? memory.underWay : undefined;
  // Whatever it did afterwards: it has been started for this generation.
  const started = begun !== undefined && state.starts > begun.starts;
  const restarting = memory.restartAtMs !== undefined;

  if (life.kind === 'none') return { kind: 'create' };
  switch (target.verb) {
    case 'create':
      return DONE;
    case 'start':
      if (started) return DONE;
      if (life.kind === 'paused')
        return refused('conflict', 'cannot start a paused container, try unpause instead');
      if (isUp(life) || (restarting && !begun))
        return refused('notModified', `container ${id} is already started`);
      return begun ? { kind: 'start', byPolicy: false } : { kind: 'begin' };
    case 'stop':
      if (isUp(life)) return begun ? { kind: 'stop', target } : { kind: 'begin' };
      if (restarting) return { kind: 'giveUpRestart' };
      return begun ? DONE : refused('notModified', `container ${id} is already stopped`);
    case 'restart':
      if (started) return DONE;
      if (!begun) return { kind: 'begin' };
      if (isUp(life)) return { kind: 'stop', target };
      return { kind: 'start', byPolicy: false };
    case 'pause':
      if (life.kind === 'paused')
        return begun ? DONE : refused('conflict', `Container ${id} is already paused`);
      if (life.kind !== 'running') return refused('conflict', `container ${id} is not running`);
      return begun ? { kind: 'pause' } : { kind: 'begin' };
    case 'unpause':
      if (life.kind !== 'paused')
        return begun && life.kind === 'running' ? DONE : refused('conflict', `Container ${id} is not paused`);
      return begun ? { kind: 'unpause' } : { kind: 'begin' };
    case 'update':
      return { kind: 'update' };
    default:
      return refused('unimplemented', `this version of the agent cannot ${target.verb} a container`);
  }
}
