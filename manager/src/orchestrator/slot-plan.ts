import { isTerminal, type RestartPolicy, type Task } from '@tessera/shared/model';
import { earliest } from './earliest.js';
import type { NodeVerdict } from './node-verdict.js';
import { allowsRestart, NO_RESTARTS, planRestart, type RestartRecord } from './restart/policy.js';
import { isRunning, type Slot, type TaskFacts, wantedIn } from './slots.js';
import type { NewTask, TaskChange } from './task-change.js';

/** What a slot's plan depends on beside the slot. */
export interface SlotContext {
  readonly policy: RestartPolicy | undefined;
  /** The template that new tasks are made from. */
  readonly specVersion: number;
  readonly nowMs: number;
  readonly verdictOf: (task: Task) => NodeVerdict;
  /** Nothing of the task runs on any node that can be reached; also when there is no such task any more. */
  readonly hasStopped: (taskId: string) => boolean;
}

export interface Plan {
  readonly changes: readonly TaskChange[];
  /** Unix time in milliseconds to look again at, although nothing will have changed. */
  readonly wakeAtMs: number | undefined;
}

/** Keeps one held slot filled: restarts what ended, moves what lost its node, starts what waited. */
export function planSlot(slot: Slot, context: SlotContext): Plan {
  const { latest } = slot;
  const wanted = wantedIn(slot);
  // Shut down and not replaced: its policy said so. What came before it has no business left.
  if (!wanted.includes(latest)) return only(wanted.map(shutdown));

  // Its node is gone for good; the task did nothing wrong.
  if (latest.observed === 'orphaned') return planMove(slot, context);
  if (isTerminal(latest.observed)) return planEnded(slot, context);
  if (isLost(latest, context)) return planMove(slot, context);

  const outlived = wanted.filter((facts) => isOutlived(facts, wanted, context));
  if (outlived.length > 0) return only(outlived.map(shutdown));
  // An older one of a pair may still wait for its own start: until the newer one runs it is all there is.
  const starts = wanted
    .filter(({ observed }) => !isTerminal(observed))
    .map(({ task }) => planStart(task, context));
  return {
    changes: starts.flatMap(({ changes }) => changes),
    wakeAtMs: earliest(starts.map(({ wakeAtMs }) => wakeAtMs)),
  };
}

/** An older one of a start-first pair goes once a newer one runs, or when it cannot run itself. */
function isOutlived(facts: TaskFacts, wanted: readonly TaskFacts[], context: SlotContext): boolean {
  const newer = wanted.slice(wanted.indexOf(facts) + 1);
  if (newer.length === 0) return false;
  return newer.some(isRunning) || isTerminal(facts.observed) || isLost(facts, context);
}

function isLost({ task }: TaskFacts, context: SlotContext): boolean {
  const verdict = context.verdictOf(task);
  return verdict !== 'usable' && verdict !== 'silent';
}

/** The slot's latest task has ended by itself: its policy says what now. */
function planEnded(slot: Slot, context: SlotContext): Plan {
  const { latest } = slot;
  const isOutdated = latest.task.specVersion !== context.specVersion;
  // Ended before it was due: its image cannot be had, say. Its successor must not come any sooner for that.
  if (!isOutdated && latest.task.startNotBeforeMs > context.nowMs) {
    return { changes: [], wakeAtMs: latest.task.startNotBeforeMs };
  }
  // Another template's failures are no reason to hold this one back.
  const ended = isOutdated ? { ...latest, task: { ...latest.task, ...NO_RESTARTS } } : latest;
  const restart = planRestart(context.policy, ended, context.nowMs);
  if (!restart) return only([shutdown(latest)]);
  return replaceIn(slot, [latest.task], restart, context);
}

/** The latest task's node cannot keep it: another one takes the slot at once, for nobody's failure. */
function planMove(slot: Slot, context: SlotContext): Plan {
  const { latest } = slot;
  if (!allowsRestart(context.policy, latest)) return only([shutdown(latest)]);

  // A crash loop is neither cut short by moving it, nor is the move one more failure of it.
  const restart = latest.task.specVersion === context.specVersion ? latest.task : NO_RESTARTS;
  const lost = wantedIn(slot).filter((facts) => facts === latest || isLost(facts, context));
  return replaceIn(
    slot,
    lost.map(({ task }) => task),
    restart,
    context,
  );
}

/** A task that waits for others to stop, or for its delay, starts once neither holds it. */
function planStart(task: Task, context: SlotContext): Plan {
  if (task.desiredState === 'running') return only([]);
  if (context.nowMs < task.startNotBeforeMs) return { changes: [], wakeAtMs: task.startNotBeforeMs };
  return only(task.supersedes.every(context.hasStopped) ? [{ kind: 'start', task }] : []);
}

/** Retires what the slot holds and makes the next task for it, to start when what it supersedes has stopped. */
export function replaceIn(
  slot: Slot,
  retire: readonly Task[],
  restart: RestartRecord,
  context: SlotContext,
): Plan {
  const create = nextTask(slot, retire, restart, context);
  return {
    changes: [{ kind: 'replace', retire, create }],
    wakeAtMs: restart.startNotBeforeMs > context.nowMs ? restart.startNotBeforeMs : undefined,
  };
}

/**
 * The next task of a slot.
 *
 * @param retired wanted tasks that go in the same change; other wanted ones may run beside the new one
 */
export function nextTask(
  slot: Slot,
  retired: readonly Task[],
  restart: RestartRecord,
  context: SlotContext,
): NewTask {
  const stopping = slot.tasks
    .map(({ task }) => task)
    .filter((task) => retired.includes(task) || !wantedIn(slot).some((facts) => facts.task === task));
  const supersedes = stopping.filter((task) => !context.hasStopped(task.id)).map(({ id }) => id);
  const mustWait = supersedes.length > 0 || restart.startNotBeforeMs > context.nowMs;
  return {
    slot: slot.number,
    nodeId: slot.nodeId,
    epochNumber: (slot.latest.task.epoch?.number ?? 0) + 1,
    supersedes: stoppedFirst(supersedes, retired),
    desiredState: mustWait ? 'ready' : 'running',
    restart: {
      startNotBeforeMs: restart.startNotBeforeMs,
      restartCount: restart.restartCount,
      restartsAtMs: restart.restartsAtMs,
      failureStreak: restart.failureStreak,
    },
  };
}

/** All that still runs, and what is retired with it: the agent must know them as replaced even when they are down. */
function stoppedFirst(stopping: readonly string[], retired: readonly Task[]): string[] {
  return [...new Set([...stopping, ...retired.map(({ id }) => id)])].sort();
}

const shutdown = ({ task }: TaskFacts): TaskChange => ({ kind: 'retire', task, desiredState: 'shutdown' });

const only = (changes: readonly TaskChange[]): Plan => ({ changes, wakeAtMs: undefined });
