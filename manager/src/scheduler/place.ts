import type { Task } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { Checks } from './feasibility.js';
import type { NodeEntry, NodeSet } from './node-set.js';
import { Spread, scorer } from './spread.js';

/** What became of one task. */
export type Placement =
  | { readonly task: Task; readonly nodeId: string }
  /** Why no node may run it, in the user's words. */
  | { readonly task: Task; readonly nodeId: undefined; readonly reason: string };

export interface Snapshot {
  readonly nodes: NodeSet;
  readonly view: View;
  readonly nowMs: number;
}

/**
 * Decides where tasks go. What it places it counts in the node set, so that later tasks see it; nothing else
 * is touched.
 *
 * Tasks made from one template are placed as a group: filters are asked once per node, and a heap hands out the
 * nodes.
 */
export function planPlacements(tasks: readonly Task[], snapshot: Snapshot): Placement[] {
  const entries = snapshot.nodes.entries();
  return groupsOf(tasks).flatMap((group) => placeGroup(group, entries, snapshot));
}

/** Oldest service's tasks first; a service's in order of slot. */
function groupsOf(tasks: readonly Task[]): Task[][] {
  const groups = new Map<string, Task[]>();
  for (const task of tasks) {
    // A global service's task has its node already, and is judged for that one alone.
    // A container is of no service, and each is a group of its own.
    const isAlone = task.nodeId !== '' || task.serviceId === '';
    const key = isAlone ? `task/${task.id}` : `${task.serviceId}/${task.specVersion}`;
    const group = groups.get(key);
    if (group) group.push(task);
    else groups.set(key, [task]);
  }
  const bySlot = (a: Task, b: Task) => a.slot - b.slot || (a.id < b.id ? -1 : 1);
  const age = (group: readonly Task[]) => Math.min(...group.map((task) => task.meta?.createdAtMs ?? 0));
  return [...groups]
    .map(([key, group]) => ({ key, age: age(group), group: group.sort(bySlot) }))
    .sort((a, b) => a.age - b.age || (a.key < b.key ? -1 : 1))
    .map(({ group }) => group);
}

function placeGroup(group: readonly Task[], entries: readonly NodeEntry[], snapshot: Snapshot): Placement[] {
  const { nodes, view } = snapshot;
  const first = group[0]!;
  const spec = view.specOf(first);
  const checks = new Checks(first, spec, snapshot);
  const candidates = first.nodeId ? entries.filter(({ node }) => node.id === first.nodeId) : entries;
  const feasible = candidates.filter((entry) => !checks.refusalOf(entry));

  const placements: Placement[] = [];
  const spread = new Spread(
    feasible,
    spec.placement?.spreadOver ?? [],
    scorer(first, spec, snapshot),
    (entry) => nodes.taskCountOf(first.serviceId, entry),
    candidates,
  );
  for (const task of group) {
    const entry = spread.next((best) => {
      nodes.place(task, best, view);
      return checks.stillFits(best);
    });
    if (!entry) break;
    placements.push({ task, nodeId: entry.node.id });
  }
  if (placements.length === group.length) return placements;

  const reason = checks.explain(candidates);
  const left = group.slice(placements.length);
  return [...placements, ...left.map((task) => ({ task, nodeId: undefined, reason }))];
}
