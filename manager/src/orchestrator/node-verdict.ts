import type { Node, NodeStatus, Task } from '@tessera/shared/model';
import { meetsConstraints, parseConstraints } from '../constraints/index.js';
import { isNodeUp } from '../loops/facts.js';
import type { View } from '../store/view.js';
import { type Pacing, paceReplacement } from './restart/pacing.js';

/**
 * What a task's node is to it.
 *
 * `usable`: it may stay. `silent`: down, but so many are that its tasks are not replaced yet. `down`: replace
 * them. `drained`: the user wants it empty. `unfit`: its labels no longer meet the task's constraints.
 * `gone`: the cluster no longer knows it.
 */
export type NodeVerdict = 'usable' | 'silent' | 'down' | 'drained' | 'unfit' | 'gone';

/** Judges nodes for one pass over one view; what it works out is kept for that pass alone. */
export class NodeJudge {
  #pacing: Pacing | undefined;
  #sawSilent = false;

  constructor(
    private readonly view: View,
    private readonly nowMs: number,
  ) {}

  of(task: Task): NodeVerdict {
    const presence = this.presenceOf(task.nodeId);
    const node = this.view.nodes.get(task.nodeId);
    const status = this.view.nodeStatuses.get(task.nodeId);
    if (presence !== 'usable' || !node || !status) return presence;
    if (node.availability === 'drain') return 'drained';
    return isFit(this.view, task, node, status) ? 'usable' : 'unfit';
  }

  /** Whether the node is there at all, whatever is to run on it. */
  presenceOf(nodeId: string): 'usable' | 'silent' | 'down' | 'gone' {
    if (!nodeId) return 'usable';
    if (!this.view.nodes.get(nodeId)) return 'gone';
    const status = this.view.nodeStatuses.get(nodeId);
    // Not heard of yet: a node that has just joined.
    if (!status || isNodeUp(status)) return 'usable';
    if (this.pacing.released.has(nodeId)) return 'down';
    this.#sawSilent = true;
    return 'silent';
  }

  /** When a node that held something back is released; undefined when none did. */
  get wakeAtMs(): number | undefined {
    return this.#sawSilent ? this.pacing.nextAtMs : undefined;
  }

  get pacing(): Pacing {
    this.#pacing ??= pacingOf(this.view, this.nowMs);
    return this.#pacing;
  }
}

/** Who of all nodes that are down may have its tasks replaced. */
export function pacingOf(view: View, nowMs: number): Pacing {
  const down: NodeStatus[] = [];
  for (const status of view.nodeStatuses.all()) {
    if (status.state === 'down' && view.nodes.get(status.nodeId)) down.push(status);
  }
  return paceReplacement(down, view.nodes.size, graceMs(view), nowMs);
}

const PERIOD_DEFAULT_MS = 1_000;
const GRACE_PERIODS_DEFAULT = 3;

function graceMs(view: View): number {
  const spec = view.cluster?.spec;
  return (
    (spec?.heartbeatPeriodMs || PERIOD_DEFAULT_MS) * (spec?.heartbeatGracePeriods || GRACE_PERIODS_DEFAULT)
  );
}

function isFit(view: View, task: Task, node: Node, status: NodeStatus | undefined): boolean {
  const expressions = view.specOf(task).placement?.constraints ?? [];
  return expressions.length === 0 || meetsConstraints(parseConstraints(expressions), node, status);
}
