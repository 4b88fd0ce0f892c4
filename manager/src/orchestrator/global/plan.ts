import { firstTask, giveUp, isHeld, type Membership } from '../replicated/plan.js';
import type { SlotContext } from '../slot-plan.js';
import type { Slot } from '../slots.js';

/**
 * What a global service makes of one node.
 *
 * `wanted`: it is to have a task. `kept`: it keeps the one it has, but gets none (paused, or out of reach).
 * `refused`: it is to have none.
 */
export type NodeWish = 'wanted' | 'kept' | 'refused';

/**
 * Decides which nodes get a task of a global service, and which lose theirs. A task on a node that is down is
 * left alone: no other node could have it, and it may well still run.
 *
 * @param wishes by node id; a node that is not in it is gone
 */
export function planGlobal(
  slots: readonly Slot[],
  wishes: ReadonlyMap<string, NodeWish>,
  context: SlotContext,
): Membership {
  const byNode = new Map(slots.map((slot) => [slot.nodeId, slot]));
  const held = slots.filter(isHeld);
  const lost = held.filter((slot) => (wishes.get(slot.nodeId) ?? 'refused') === 'refused');
  const unserved = [...wishes]
    .filter(([nodeId, wish]) => wish === 'wanted' && !held.some((slot) => slot.nodeId === nodeId))
    .map(([nodeId]) => nodeId);
  return {
    kept: held.filter((slot) => wishes.get(slot.nodeId) === 'wanted'),
    changes: [
      ...lost.flatMap(giveUp),
      ...unserved.map((nodeId) => ({
        kind: 'create' as const,
        create: firstTask({ slot: 0, nodeId }, byNode.get(nodeId), context),
      })),
    ],
  };
}
