import { Heap } from '@tessera/shared/collections';
import type { Task, TaskSpec } from '@tessera/shared/model';
import type { View } from '../store/view.js';
import { wishesOf } from './filters/index.js';
import type { NodeEntry, NodeSet } from './node-set.js';

/** How good a node is for a task of one service: compared from the first part to the last, smaller is better. */
export interface Score {
  /** Soft constraints and affinities that the node does not meet. */
  readonly unmet: number;
  /** 1 where the service has kept failing lately. */
  readonly failing: number;
  readonly serviceTasks: number;
  readonly tasks: number;
  /** 0 where the image is on the node already. */
  readonly imageMissing: number;
}

interface Candidate {
  readonly entry: NodeEntry;
  /** The score as one number, and behind it the place in the order of ids. */
  readonly rank: number;
  readonly order: number;
}

const compareCandidates = (a: Candidate, b: Candidate): number => a.rank - b.rank || a.order - b.order;

/** More tasks than one node can run; keeps the parts of a rank apart, and the whole below 2^53. */
const TASKS_MAX = 2 ** 20;

/** More wishes than these count as this many. */
const UNMET_MAX = 2 ** 8;

/** The score as one number, in the same order: millions of them are compared. */
export function rankOf({ unmet, failing, serviceTasks, tasks, imageMissing }: Score): number {
  const counts = Math.min(serviceTasks, TASKS_MAX - 1) * TASKS_MAX + Math.min(tasks, TASKS_MAX - 1);
  const first = Math.min(unmet, UNMET_MAX - 1) * 2 + failing;
  return first * 2 ** 42 + counts * 2 + imageMissing;
}

export interface ScoreContext {
  readonly nodes: NodeSet;
  readonly view: View;
  readonly nowMs: number;
}

export function scorer(task: Task, spec: TaskSpec, context: ScoreContext): (entry: NodeEntry) => Score {
  const { nodes, view, nowMs } = context;
  const container = spec.container;
  const digest = container?.imageDigest || (container && view.images.byName(container.image)?.id) || '';
  const wishes = wishesOf(spec.placement, context).filter(({ expression }) => expression.isSoft);
  const avoided = nodes.failures.nodesAvoidedBy(task.serviceId, nowMs);
  return (entry) => ({
    unmet: wishes.filter((wish) => !wish.isMetBy(entry)).length,
    failing: avoided.size > 0 && avoided.has(entry.node.id) ? 1 : 0,
    serviceTasks: nodes.taskCountOf(task.serviceId, entry),
    tasks: nodes.taskCount(entry),
    imageMissing: digest && entry.status?.imageDigests.includes(digest) ? 0 : 1,
  });
}

/**
 * Hands out nodes one by one, so that a service's tasks spread evenly: over the values of the labels that it
 * prefers, one preference inside the other, then over nodes.
 *
 * Source: swarmkit manager/scheduler (decision tree); a heap in every leaf is ours.
 */
export class Spread {
  readonly #leaf: Heap<Candidate> | undefined;
  /** By label value, in order of the value. */
  readonly #branches: Spread[] = [];
  #serviceTasks = 0;

  constructor(
    entries: readonly NodeEntry[],
    preferences: readonly string[],
    private readonly score: (entry: NodeEntry) => Score,
    /** How many tasks of the service are already there, on nodes that cannot take more included. */
    countsOf: (entry: NodeEntry) => number,
    all: readonly NodeEntry[] = entries,
  ) {
    const [preference, ...rest] = preferences;
    if (preference === undefined) {
      this.#leaf = new Heap(
        compareCandidates,
        entries.map((entry, order) => ({ entry, order, rank: rankOf(score(entry)) })),
      );
      return;
    }
    const branches = groupBy(entries, (entry) => labelOf(entry, preference));
    const everyone = groupBy(all, (entry) => labelOf(entry, preference));
    for (const value of [...branches.keys()].sort()) {
      const branch = new Spread(branches.get(value)!, rest, score, countsOf, everyone.get(value)!);
      for (const entry of everyone.get(value)!) branch.#serviceTasks += countsOf(entry);
      this.#branches.push(branch);
    }
  }

  /**
   * The best node left. It is to be given back by `keep` when it can take another task.
   *
   * @param place puts the task on the node, so that its score counts it
   */
  next(place: (entry: NodeEntry) => boolean): NodeEntry | undefined {
    if (this.#leaf) {
      const best = this.#leaf.pop();
      if (!best) return undefined;
      const fitsMore = place(best.entry);
      if (fitsMore) this.#leaf.push({ ...best, rank: rankOf(this.score(best.entry)) });
      this.#serviceTasks++;
      return best.entry;
    }
    const branch = this.#branches
      .filter(({ hasRoom }) => hasRoom)
      .reduce<Spread | undefined>(
        (best, other) => (best && best.#serviceTasks <= other.#serviceTasks ? best : other),
        undefined,
      );
    const entry = branch?.next(place);
    if (entry) this.#serviceTasks++;
    return entry;
  }

  get hasRoom(): boolean {
    return this.#leaf ? this.#leaf.size > 0 : this.#branches.some(({ hasRoom }) => hasRoom);
  }
}

const NODE_LABELS = 'node.labels.';
const ENGINE_LABELS = 'engine.labels.';

/** A node without the label forms a group of its own with the others that lack it. */
function labelOf({ node, status }: NodeEntry, preference: string): string {
  const lower = preference.toLowerCase();
  if (lower.startsWith(NODE_LABELS)) return node.labels[preference.slice(NODE_LABELS.length)] ?? '';
  if (lower.startsWith(ENGINE_LABELS)) {
    return status?.description?.engineLabels[preference.slice(ENGINE_LABELS.length)] ?? '';
  }
  return '';
}

function groupBy(
  entries: readonly NodeEntry[],
  keyOf: (entry: NodeEntry) => string,
): Map<string, NodeEntry[]> {
  const groups = new Map<string, NodeEntry[]>();
  for (const entry of entries) {
    const key = keyOf(entry);
    const group = groups.get(key);
    if (group) group.push(entry);
    else groups.set(key, [entry]);
  }
  return groups;
}
