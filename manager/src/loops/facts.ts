import {
  isBefore,
  isTerminal,
  type NodeStatus,
  observedState,
  type Task,
  type TaskState,
} from '@tessera/shared/model';
import type { View } from '../store/view.js';

// What the loops read off a view again and again, said once.

export const observed = (view: View, task: Task): TaskState =>
  observedState(task, view.taskStatuses.get(task.id));

/** Meant to run: it may still be waiting, preparing, or have failed without anyone having decided what next. */
export const isWanted = (task: Task): boolean => isBefore(task.desiredState, 'complete');

/** The scheduler has given it a node, so an agent may know of it. */
export const isAssigned = (task: Task): boolean => !isBefore(task.state, 'assigned');

/** Its node is known to the cluster and not unheard past the grace time. */
export const isNodeUp = (status: NodeStatus | undefined): boolean =>
  status !== undefined && status.state !== 'down';

/**
 * Nothing of this task runs on any node that can be reached, and nothing will. A task on a node that is
 * down may still run there; its replacement does not wait for it.
 */
export function hasStopped(view: View, task: Task): boolean {
  if (isTerminal(observed(view, task)) || !isAssigned(task)) return true;
  return !view.nodes.get(task.nodeId) || !isNodeUp(view.nodeStatuses.get(task.nodeId));
}
