import type { Task, TaskSpec } from '@tessera/shared/model';
import type { View } from '../../store/view.js';
import type { NodeEntry, NodeSet } from '../node-set.js';

export interface FilterContext {
  readonly nodes: NodeSet;
  readonly view: View;
}

/** What a filter asks of every node on behalf of one task. */
export interface Check {
  accepts(entry: NodeEntry): boolean;
  /** Why `nodeCount` nodes were turned down, as the user reads it in the task's status. */
  explain(nodeCount: number): string;
}

/** One question asked of every node: may this task run here? */
export interface Filter {
  readonly name: string;
  /** Whether the answer changes with every task placed, so that it is asked again for each one of a group. */
  readonly isDynamic: boolean;
  /** Prepares what is to be asked for one task; nothing where the task asks nothing of the kind. */
  forTask(task: Task, spec: TaskSpec, context: FilterContext): readonly Check[];
}

export const onNodes = (nodeCount: number): string => `on ${nodeCount} node${nodeCount === 1 ? '' : 's'}`;
