import type { Task, Task_State, TaskStatus } from '../gen/tessera/v1/objects.js';

/** Where a task is, or is meant to be. They are passed in this order, and never backwards. */
export type TaskState = Task_State;

const ORDER: Record<TaskState, number> = {
  new: 0,
  pending: 1,
  assigned: 2,
  accepted: 3,
  preparing: 4,
  ready: 5,
  starting: 6,
  running: 7,
  complete: 8,
  shutdown: 9,
  failed: 10,
  rejected: 11,
  orphaned: 12,
  remove: 13,
  // From a newer version: whatever it means, it is not something we may move on from.
  UNRECOGNIZED: 14,
};

export const isBefore = (state: TaskState, other: TaskState): boolean => ORDER[state] < ORDER[other];

export const compareStates = (a: TaskState, b: TaskState): number => ORDER[a] - ORDER[b];

/** Nothing runs any more, and nothing will. */
export const isTerminal = (state: TaskState): boolean => !isBefore(state, 'complete');

/** Where a task is: its agent's word once there is one, the leader's before. The later of the two. */
export function observedState(task: Task, status: TaskStatus | undefined): TaskState {
  if (!status) return task.state;
  return isBefore(status.state, task.state) ? task.state : status.state;
}
