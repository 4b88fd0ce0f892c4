import type { Task } from '@tessera/shared/model';

/** One change that brings the tasks here closer to what is assigned. */
export type TaskChange =
  | { readonly kind: 'start'; readonly task: Task }
  | { readonly kind: 'update'; readonly task: Task }
  | { readonly kind: 'remove'; readonly taskId: string };

/**
 * Decides what to do about every task that is here or assigned.
 *
 * @param here the tasks on this node as last told, by id
 * @param leaving ids of tasks here whose removal is under way already
 */
export function planTasks(
  here: ReadonlyMap<string, Task>,
  leaving: ReadonlySet<string>,
  assigned: ReadonlyMap<string, Task>,
): TaskChange[] {
  const changes: TaskChange[] = [];
  // Removals first: what they free (addresses, memory) may be what the new ones need.
  for (const taskId of here.keys())
    if (!assigned.has(taskId) && !leaving.has(taskId)) changes.push({ kind: 'remove', taskId });
  for (const [taskId, task] of assigned) {
    // A task that leaves does not come back: its container is being taken apart. It is seen again, as a new
    // one, with the first set after it has gone.
    if (leaving.has(taskId)) continue;
    const known = here.get(taskId);
    if (!known) changes.push({ kind: 'start', task });
    else if (known !== task) changes.push({ kind: 'update', task });
  }
  return changes;
}
