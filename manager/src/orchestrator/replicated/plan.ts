import type { Service } from '@tessera/shared/model';
import { NO_RESTARTS } from '../restart/policy.js';
import { type Plan, planSlot, type SlotContext } from '../slot-plan.js';
import { allSlots, isRunning, type Slot, type TaskFacts, wantedIn } from '../slots.js';
import type { TaskChange } from '../task-change.js';

/** Decides which slots to fill, or give up, so that a replicated service has as many as its spec asks for. */
export function planReplicas(service: Service, tasks: readonly TaskFacts[], context: SlotContext): Plan {
  const slots = allSlots(tasks);
  const held = slots.filter((slot) => slot.latest.task.desiredState !== 'remove');
  const replicas = service.spec?.replicas ?? 0;

  const surplus = new Set(leastValuableFirst(held).slice(0, Math.max(0, held.length - replicas)));
  const kept = held.filter((slot) => !surplus.has(slot)).map((slot) => planSlot(slot, context));
  return {
    changes: [
      // Away first: it may free the very room that what is created needs.
      ...[...surplus].flatMap(giveUp),
      ...kept.flatMap(({ changes }) => changes),
      ...fillSlots(slots, held, replicas, context),
    ],
    wakeAtMs: earliest(kept.map(({ wakeAtMs }) => wakeAtMs)),
  };
}

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
    changes.push({ kind: 'create', create: firstTask(number, leaving.get(number), context) });
  }
  return changes;
}

function firstTask(slot: number, leaving: Slot | undefined, context: SlotContext) {
  const stopping = (leaving?.tasks ?? []).filter(({ task }) => !context.hasStopped(task.id));
  return {
    slot,
    nodeId: '',
    epochNumber: (leaving?.latest.task.epoch?.number ?? 0) + 1,
    supersedes: stopping.map(({ task }) => task.id),
    desiredState: stopping.length > 0 ? ('ready' as const) : ('running' as const),
    restart: NO_RESTARTS,
  };
}

/**
 * Slots in the order to give them up: those that do not run first, then those on the nodes that have the most
 * of this service, then the highest numbers.
 */
export function leastValuableFirst(slots: readonly Slot[]): Slot[] {
  const left = new Map<string, Slot[]>();
  const idle: Slot[] = [];
  for (const slot of [...slots].sort((a, b) => b.number - a.number)) {
    const running = wantedIn(slot).find(isRunning);
    if (!running) {
      idle.push(slot);
      continue;
    }
    const onNode = left.get(running.task.nodeId);
    if (onNode) onNode.push(slot);
    else left.set(running.task.nodeId, [slot]);
  }
  // The k-th from the end of its node goes when its node has k left: so the fullest nodes lose first.
  const ranked = [...left.values()].flatMap((onNode) =>
    onNode.map((slot, index) => ({ slot, leftOnNode: onNode.length - index })),
  );
  ranked.sort((a, b) => b.leftOnNode - a.leftOnNode || b.slot.number - a.slot.number);
  return [...idle, ...ranked.map(({ slot }) => slot)];
}

export function earliest(times: readonly (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const time of times) if (time !== undefined && (first === undefined || time < first)) first = time;
  return first;
}
