import { needsNode, placementOf } from '../loops/containers.js';
import type { Transaction } from '../store/view.js';
import type { Placement } from './place.js';

/**
 * Whether a node may be given something. What is then written holds only if that is still so: a node that is drained
 * or lost meanwhile gets nothing.
 */
export function takesMore(tx: Transaction, nodeId: string): boolean {
  if (tx.nodes.get(nodeId)?.availability !== 'active' || tx.nodeStatuses.get(nodeId)?.state !== 'ready')
    return false;
  tx.require('nodes', nodeId);
  tx.require('nodeStatuses', nodeId);
  return true;
}

/**
 * Writes what was decided of a container, once: where it runs or why it cannot. Its user waits for either.
 *
 * @returns whether anything was written
 */
export function applyContainerPlacement(
  tx: Transaction,
  containerId: string,
  decided: Placement,
  nowMs: number,
): boolean {
  const container = tx.containers.get(containerId);
  if (!container || !needsNode(container, tx.containerPlacements.get(containerId))) return false;
  if (decided.nodeId !== undefined && !takesMore(tx, decided.nodeId)) return false;
  // One that is deleted meanwhile must not leave a placement behind.
  tx.require('containers', containerId);
  tx.put('containerPlacements', {
    ...placementOf(tx, containerId),
    ...(decided.nodeId === undefined ? { pendingReason: decided.reason } : { nodeId: decided.nodeId }),
    placedAtMs: nowMs,
  });
  return true;
}
