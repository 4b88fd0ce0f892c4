import type { Clock } from '@tessera/shared/env';
import { isTerminal, type Task } from '@tessera/shared/model';
import { isAssigned, isNodeUp, observed } from '../../loops/facts.js';
import type { LoopDefinition, Outcome } from '../../loops/leader-loop.js';
import type { Change, Store, View } from '../../store/view.js';

/** A node that has been down this long is not waited for any longer. Source: swarmkit's dispatcher. */
export const ORPHANED_AFTER_MS = 24 * 3_600_000;
const TASKS_PER_TRANSACTION = 90;

/** Gives up the tasks of nodes that are gone for good, so that their addresses can be used again. Ids are nodes. */
export function orphansLoop(store: Store, clock: Clock): LoopDefinition {
  return { name: 'orphans', concurrency: 2, ids, touched, reconcile: (id) => giveUpTasks(store, clock, id) };
}

function ids(view: View): Iterable<string> {
  const nodeIds = new Set<string>();
  for (const { nodeId } of view.tasks.all())
    if (nodeId && !isNodeUp(view.nodeStatuses.get(nodeId))) nodeIds.add(nodeId);
  return nodeIds;
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const change of changes) {
    if (change.kind === 'nodes' && !change.after) yield change.id;
    if (change.kind === 'nodeStatuses' && !isNodeUp((change as Change<'nodeStatuses'>).after))
      yield change.id;
    // Assigned in the very moment in which its node was removed.
    if (change.kind === 'tasks') {
      const nodeId = (change as Change<'tasks'>).after?.nodeId;
      if (nodeId && !view.nodes.get(nodeId)) yield nodeId;
    }
  }
}

async function giveUpTasks(store: Store, clock: Clock, nodeId: string): Promise<Outcome> {
  let worked = false;
  for (;;) {
    const { left, wakeAtMs } = await store.update((tx) => {
      const dueAtMs = orphanedAtMs(tx, nodeId);
      if (dueAtMs === undefined) return { left: 0, wakeAtMs: undefined };
      if (dueAtMs > clock.now()) return { left: 0, wakeAtMs: dueAtMs };

      const tasks = tx.tasks.byNode(nodeId).filter((task) => isAssigned(task) && !isOver(tx, task));
      const piece = tasks.slice(0, TASKS_PER_TRANSACTION);
      for (const task of piece) tx.put('tasks', { ...task, state: 'orphaned' });
      worked ||= piece.length > 0;
      return { left: tasks.length - piece.length, wakeAtMs: undefined };
    });
    if (left === 0) return { worked, wakeAtMs };
  }
}

const isOver = (view: View, task: Task): boolean => isTerminal(observed(view, task));

/** When the node's tasks are given up: at once when it is no longer known, a day after it was lost. */
function orphanedAtMs(view: View, nodeId: string): number | undefined {
  if (!view.nodes.get(nodeId)) return 0;
  const status = view.nodeStatuses.get(nodeId);
  return status?.state === 'down' ? status.stateSinceMs + ORPHANED_AFTER_MS : undefined;
}
