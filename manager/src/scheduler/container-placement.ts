import type { Container, ContainerPlacement } from '@tessera/shared/model';
import { needsNode, placementOf, volumeIdsOf } from '../loops/containers.js';
import { isNodeUp } from '../loops/facts.js';
import { nodeOfVolume } from '../loops/volumes.js';
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
 * Writes what was decided of a container, once: where it runs or why it cannot. Its user waits for either. One that is
 * to move stays where it was until there is another node for it, and if that one is back first, for good.
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
  if (decided.nodeId !== undefined && !pinVolumes(tx, container, decided.nodeId)) return false;
  // One that is deleted meanwhile must not leave a placement behind.
  tx.require('containers', containerId);
  const before = placementOf(tx, containerId);
  if (before.moving && isBack(tx, before.nodeId)) return false;
  tx.put('containerPlacements', {
    ...before,
    ...(decided.nodeId === undefined
      ? { pendingReason: decided.reason }
      : placedOn(tx, before, decided.nodeId)),
    placedAtMs: nowMs,
  });
  return true;
}

/** What its next node carries on from is what the last one said. */
function placedOn(tx: Transaction, before: ContainerPlacement, nodeId: string): Partial<ContainerPlacement> {
  const former = before.moving ? tx.containerStates.get(before.containerId) : undefined;
  return { nodeId, epoch: before.epoch + 1, pendingReason: '', moving: false, former };
}

function isBack(tx: Transaction, nodeId: string): boolean {
  if (tx.nodes.get(nodeId) && isNodeUp(tx.nodeStatuses.get(nodeId))) return true;
  tx.require('nodes', nodeId);
  tx.require('nodeStatuses', nodeId);
  return false;
}

/**
 * A volume stays on the node of the first container that names it.
 *
 * @returns false: another one has brought a volume to another node meanwhile
 */
function pinVolumes(tx: Transaction, container: Container, nodeId: string): boolean {
  const volumes = volumeIdsOf(container).map((id) => tx.volumes.get(id));
  if (volumes.some((volume) => volume && ![nodeId, ''].includes(nodeOfVolume(tx, volume)))) return false;
  for (const volume of volumes)
    if (volume && nodeOfVolume(tx, volume) === '')
      tx.put('volumePlacements', { volumeId: volume.id, nodeId });
  return true;
}
