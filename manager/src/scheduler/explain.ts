import type { Task } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { Checks } from './feasibility.js';
import { NodeSet } from './node-set.js';
import { type Score, scorer } from './spread.js';

/** What the scheduler thinks of one node for one task. */
export type NodeExplanation =
  /** The name of the first filter that turns the node down, and how it says so. */
  | { readonly nodeId: string; readonly refusedBy: string; readonly reason: string }
  /** Smaller is better, from the first part to the last. */
  | { readonly nodeId: string; readonly score: Score };

export interface Explanation {
  /** In order of node id. */
  readonly nodes: readonly NodeExplanation[];
  /** What the task's `pendingReason` would say now; empty when some node may run it. */
  readonly summary: string;
}

/** Judges every node for a task as the scheduler would now, and says why. Places nothing. */
export function explain(view: View, task: Task, nowMs: number): Explanation {
  const nodes = new NodeSet(view);
  const spec = view.specOf(task);
  const context = { nodes, view, nowMs };
  const checks = new Checks(task, spec, context);
  const scoreOf = scorer(task, spec, context);
  const entries = nodes.entries();
  const explained = entries.map((entry): NodeExplanation => {
    const refusal = checks.refusalOf(entry);
    const nodeId = entry.node.id;
    return refusal
      ? { nodeId, refusedBy: refusal.filter.name, reason: refusal.check.explain(1) }
      : { nodeId, score: scoreOf(entry) };
  });
  const mayRun = explained.some((node) => 'score' in node);
  return { nodes: explained, summary: mayRun ? '' : checks.explain(entries) };
}
