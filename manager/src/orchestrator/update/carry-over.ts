import { isTerminal, type Service, type Task, TaskSpec } from '@tessera/shared/model';
import { meetsConstraints, parseConstraints, runsOneOf } from '../../constraints/index.js';
import { isWanted } from '../../loops/facts.js';
import type { View } from '../../store/view.js';
import type { Slot, TaskFacts } from '../slots.js';

/**
 * Slots as an update is to see them: where the latest task has an older number, and the current template would make
 * the same one again on the node it has, the task counts as one of the current template. A rollback, or an update
 * that goes back on another one, so leaves alone what it need not touch.
 *
 * @returns the slots, and the tasks whose number is to be raised
 * Source: swarmkit manager/orchestrator/task.go, IsTaskDirty
 */
export function carryOver(
  view: View,
  service: Service,
  slots: readonly Slot[],
): { readonly slots: readonly Slot[]; readonly carried: readonly Task[] } {
  const isSame = sameAs(view, service);
  const carried: Task[] = [];
  const seen = slots.map((slot) => {
    const { task, observed } = slot.latest;
    if (task.specVersion === service.specVersion || !isWanted(task) || isTerminal(observed)) return slot;
    if (!isSame(task)) return slot;
    const latest: TaskFacts = { ...slot.latest, task: { ...task, specVersion: service.specVersion } };
    carried.push(latest.task);
    return { ...slot, latest, tasks: [...slot.tasks.slice(0, -1), latest] };
  });
  return { slots: carried.length === 0 ? slots : seen, carried };
}

/** Where a task may run says nothing about what it is: it stays if its node is among those it may run on now. */
function sameAs(view: View, service: Service): (task: Task) => boolean {
  const current = service.spec?.task;
  if (!current) return () => false;
  const currentBytes = bytesOf(current);
  const constraints = parseConstraints(current.placement?.constraints ?? []);
  const platforms = current.placement?.platforms ?? [];
  /** By version: whether its template is the current one, its placement apart. */
  const known = new Map<number, boolean>();
  const isAlike = (task: Task): boolean => {
    const alike = known.get(task.specVersion) ?? bytesOf(view.specOf(task)).equals(currentBytes);
    known.set(task.specVersion, alike);
    return alike;
  };
  const isPlaced = (task: Task): boolean => {
    const node = view.nodes.get(task.nodeId);
    const status = view.nodeStatuses.get(task.nodeId);
    return node !== undefined && meetsConstraints(constraints, node, status) && runsOneOf(platforms, status);
  };
  return (task) => isAlike(task) && isPlaced(task);
}

const bytesOf = (spec: TaskSpec): Buffer =>
  Buffer.from(TaskSpec.encode({ ...spec, placement: undefined }).finish());
