import type { NodeStatus } from '@tessera/shared/model';

export interface Pacing {
  /** Nodes that are down and whose tasks may be replaced now. */
  readonly released: ReadonlySet<string>;
  /** When the next one is released; undefined when none is held back. */
  readonly nextAtMs: number | undefined;
  /** Nodes held back: so many fell silent together that the fault may well be elsewhere. */
  readonly heldCount: number;
}

/** Nodes that fall silent within this time of each other fall silent together. */
const TOGETHER_MS = 60_000;
const TOGETHER_MIN = 3;

/**
 * Decides whose tasks may be replaced when nodes have fallen silent: all, as a rule. When more than a third
 * of the nodes, and at least three, fell silent within a minute, one node per grace time.
 *
 * Depends on the node statuses and the time alone, so that every leader decides alike.
 *
 * @param nodeCount all nodes of the cluster
 * @param graceMs how long a node may be unheard before it is down
 */
export function paceReplacement(
  down: readonly Pick<NodeStatus, 'nodeId' | 'stateSinceMs'>[],
  nodeCount: number,
  graceMs: number,
  nowMs: number,
): Pacing {
  const inOrder = [...down].sort((a, b) => a.stateSinceMs - b.stateSinceMs || (a.nodeId < b.nodeId ? -1 : 1));
  const released = new Set<string>();
  let nextAtMs: number | undefined;
  let releasedAtMs = Number.NEGATIVE_INFINITY;
  for (const [index, { nodeId, stateSinceMs }] of inOrder.entries()) {
    const isMassSilence = isTogether(inOrder, index, nodeCount);
    const atMs = isMassSilence ? Math.max(stateSinceMs, releasedAtMs + graceMs) : stateSinceMs;
    if (isMassSilence) releasedAtMs = atMs;
    if (atMs <= nowMs) released.add(nodeId);
    else nextAtMs = Math.min(nextAtMs ?? atMs, atMs);
  }
  return { released, nextAtMs, heldCount: down.length - released.size };
}

/** Whether this node fell silent among too many. */
function isTogether(
  inOrder: readonly Pick<NodeStatus, 'stateSinceMs'>[],
  index: number,
  nodeCount: number,
): boolean {
  const atMs = inOrder[index]!.stateSinceMs;
  let first = index;
  let last = index;
  while (first > 0 && atMs - inOrder[first - 1]!.stateSinceMs <= TOGETHER_MS) first--;
  while (last < inOrder.length - 1 && inOrder[last + 1]!.stateSinceMs - atMs <= TOGETHER_MS) last++;
  const count = last - first + 1;
  return count >= TOGETHER_MIN && count > nodeCount / 3;
}
