import type { Service } from '@tessera/shared/model';
import { NO_RESTARTS } from '../restart/policy.js';
import type { SlotContext } from '../slot-plan.js';
import { isRunning, type Slot, wantedIn } from '../slots.js';
import type { NewTask, TaskChange } from '../task-change.js';

/** Which slots a replicated service keeps, and what it gives up or fills to have as many as its spec asks for. */
export interface Membership {
  readonly kept: readonly Slot[];
  readonly changes: readonly TaskChange[];
}

/**
 * Decides which slots to fill, or give up.
 *
 * @param slots all slots of the service; one whose tasks all have to go is free, and its number is used again
 */
export function planReplicas(service: Service, slots: readonly Slot[], context: SlotContext): Membership {
  const held = slots.filter(isHeld);
  const replicas = service.spec?.replicas ?? 0;
  const surplus = new Set(leastValuableFirst(held).slice(0, Math.max(0, held.length - replicas)));
  return {
    kept: held.filter((slot) => !surplus.has(slot)),
    // Away first: it may free the very room that what is created needs.
    changes: [...[...surplus].flatMap(giveUp), ...fillSlots(slots, held, replicas, context)],
  };
}

export const isHeld = (slot: Slot): boolean => slot.latest.task.desiredState !== 'remove';

/** Every task of the slot goes, its history too. */
export function giveUp(slot: Slot): TaskChange[] {
  return slot.tasks
    .filter(({ task }) => task.desiredState !== 'remove')
    .map(({ task }) => ({ kind: 'retire', task, desiredState: 'remove' }));
}

/** The lowest free numbers. One whose last tasks are still stopping is free too; its new task waits for them. */
function fillSlots(
  slots: readonly Slot[],
  held: readonly Slot[],
  replicas: number,
  context: SlotContext,
): TaskChange[] {
  const taken = new Set(held.map(({ number }) => number));
  const leaving = new Map(slots.map((slot) => [slot.number, slot]));
  const changes: TaskChange[] = [];
  for (let number = 1; taken.size < replicas; number++) {
    if (taken.has(number)) continue;
    taken.add(number);
    changes.push({
      kind: 'create',
      create: firstTask({ slot: number, nodeId: '' }, leaving.get(number), context),
    });
  }
  return changes;
}

/** A task for a slot that is free, behind whatever is still stopping there. */
export function firstTask(
  place: Pick<NewTask, 'slot' | 'nodeId'>,
  leaving: Slot | undefined,
  context: SlotContext,
): NewTask {
  const stopping = (leaving?.tasks ?? []).filter(({ task }) => !context.hasStopped(task.id));
  return {
    ...place,
    epochNumber: (leaving?.latest.task.epoch?.number ?? 0) + 1,
    supersedes: stopping.map(({ task }) => task.id).sort(),
    desiredState: stopping.length > 0 ? 'ready' : 'running',
    restart: NO_RESTARTS,
  };
}

/**
 * Slots in the order to give them up: those that do not run first, then those on the nodes that have the most
 * of this service, then the highest numbers.
 */
export function leastValuableFirst(slots: readonly Slot[]): Slot[] {
  const perNode = new Map<string, Slot[]>();
  const idle: Slot[] = [];
  for (const slot of [...slots].sort((a, b) => b.number - a.number)) {
    const running = wantedIn(slot).find(isRunning);
    const onNode = running && perNode.get(running.task.nodeId);
    if (!running) idle.push(slot);
    else if (onNode) onNode.push(slot);
    else perNode.set(running.task.nodeId, [slot]);
  }
  // A slot goes when its node has this many left: so the fullest nodes lose first.
  const ranked = [...perNode.values()].flatMap((onNode) =>
    onNode.map((slot, index) => ({ slot, leftOnNode: onNode.length - index })),
  );
  ranked.sort((a, b) => b.leftOnNode - a.leftOnNode || b.slot.number - a.slot.number);
  return [...idle, ...ranked.map(({ slot }) => slot)];
}
