import type { Container } from '@tessera/shared/model';
import { isDecided } from '../../loops/containers.js';
import { isNodeUp } from '../../loops/facts.js';
import type { View } from '../../store/view.js';

/** A create that found no node is deleted by whoever asked for it; if that manager died, after this time. */
export const UNPLACED_MAX_MS = 60_000;

export type ContainerPlan =
  | { readonly kind: 'keep' }
  | { readonly kind: 'delete' }
  /** To be looked at again at this time. */
  | { readonly kind: 'later'; readonly atMs: number };

/**
 * What is to become of a container, as far as the leader is concerned: its object goes once nothing of it is left on any
 * node, or on none that will ever say so.
 */
export function planContainer(view: View, id: string, nowMs: number): ContainerPlan {
  const container = view.containers.get(id);
  const placement = view.containerPlacements.get(id);
  const state = view.containerStates.get(id);
  // What remains of one that was deleted while it was being placed, or reported.
  if (!container) return placement || state ? { kind: 'delete' } : { kind: 'keep' };
  if (state?.state === 'removed') return { kind: 'delete' };
  if (container.removing) return isLost(view, container) ? { kind: 'delete' } : { kind: 'keep' };
  if (placement && isDecided(placement) && placement.nodeId === '') {
    const dueAtMs = (container.meta?.createdAtMs ?? 0) + UNPLACED_MAX_MS;
    return dueAtMs <= nowMs ? { kind: 'delete' } : { kind: 'later', atMs: dueAtMs };
  }
  return { kind: 'keep' };
}

/** No node has it, or none that can be asked. One whose node is merely down goes if its user insists. */
function isLost(view: View, container: Container): boolean {
  const nodeId = view.containerPlacements.get(container.id)?.nodeId ?? '';
  if (nodeId === '' || !view.nodes.get(nodeId)) return true;
  return container.removeForce && !isNodeUp(view.nodeStatuses.get(nodeId));
}
