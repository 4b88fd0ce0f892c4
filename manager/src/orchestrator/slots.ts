import { isTerminal, type Task, type TaskState, type TaskStatus } from '@tessera/shared/model';
import { isWanted } from '../loops/facts.js';

/** A task with what is known of it. */
export interface TaskFacts {
  readonly task: Task;
  readonly observed: TaskState;
  readonly status: TaskStatus | undefined;
}

/** The place that a service's tasks fill one after the other: a number, or a node for a global service. */
export interface Slot {
  /** The slot's number, or the node's id. */
  readonly key: string;
  readonly number: number;
  /** Empty for a replicated service. */
  readonly nodeId: string;
  /** Oldest first; never empty. */
  readonly tasks: readonly TaskFacts[];
  /** The last task made for this slot. */
  readonly latest: TaskFacts;
}

/** Groups a service's tasks, in order of slot. */
export function allSlots(tasks: readonly TaskFacts[]): Slot[] {
  const byKey = new Map<string, TaskFacts[]>();
  for (const facts of tasks) {
    const key = slotKey(facts.task);
    const inSlot = byKey.get(key);
    if (inSlot) inSlot.push(facts);
    else byKey.set(key, [facts]);
  }
  return [...byKey]
    .map(([key, inSlot]) => {
      inSlot.sort((a, b) => compareEpochs(a.task, b.task));
      const latest = inSlot[inSlot.length - 1]!;
      const { slot: number, nodeId } = latest.task;
      return { key, number, nodeId: number === 0 ? nodeId : '', tasks: inSlot, latest };
    })
    .sort((a, b) => a.number - b.number || (a.key < b.key ? -1 : 1));
}

export const slotKey = (task: Task): string => (task.slot === 0 ? task.nodeId : String(task.slot));

export function compareEpochs(a: Task, b: Task): number {
  const incarnations = (a.epoch?.incarnation ?? 0) - (b.epoch?.incarnation ?? 0);
  const numbers = (a.epoch?.number ?? 0) - (b.epoch?.number ?? 0);
  return incarnations || numbers || (a.id < b.id ? -1 : 1);
}

/** The slot's tasks that are meant to run: one, or two while a start-first update replaces it. */
export const wantedIn = (slot: Slot): TaskFacts[] => slot.tasks.filter(({ task }) => isWanted(task));

export const isRunning = ({ task, observed }: TaskFacts): boolean => isWanted(task) && observed === 'running';

/** When the agent saw it start, or undefined while it has not. */
export function runningSinceMs({ status, observed }: TaskFacts): number | undefined {
  if (observed !== 'running') return undefined;
  return status?.container?.startedAtMs || status?.atMs || undefined;
}

/** How long a task that has ended ran; 0 when it never did. */
export function ranForMs({ status, observed }: TaskFacts): number {
  const container = status?.container;
  if (!isTerminal(observed) || !container?.startedAtMs) return 0;
  return Math.max(0, (container.finishedAtMs || (status?.atMs ?? 0)) - container.startedAtMs);
}
