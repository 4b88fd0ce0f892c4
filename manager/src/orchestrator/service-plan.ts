import type { Node, Service, Task, UpdateStatus } from '@tessera/shared/model';
import { meetsConstraints, parseConstraints } from '../constraints/index.js';
import { hasStopped, isNodeUp, observed } from '../loops/facts.js';
import type { View } from '../store/view.js';
import { earliest } from './earliest.js';
import { type NodeWish, planGlobal } from './global/plan.js';
import { NodeJudge } from './node-verdict.js';
import { giveUp, planReplicas } from './replicated/plan.js';
import { planSlot, type SlotContext } from './slot-plan.js';
import { allSlots, type Slot } from './slots.js';
import type { TaskChange } from './task-change.js';
import { carryOver } from './update/carry-over.js';
import { planUpdate } from './update/plan.js';

/** All that one service needs now. */
export interface ServicePlan {
  readonly changes: readonly TaskChange[];
  /** What has become of its update; undefined when nothing new. */
  readonly updateStatus: UpdateStatus | undefined;
  readonly rollBack: boolean;
  readonly wakeAtMs: number | undefined;
}

/** Decides what brings a service's tasks closer to its spec, and touches nothing. */
export function planService(view: View, service: Service, nowMs: number): ServicePlan {
  const found = allSlots(
    view.tasks.byService(service.id).map((task) => ({
      task,
      observed: observed(view, task),
      status: view.taskStatuses.get(task.id),
    })),
  );
  if (service.removing) {
    return { changes: found.flatMap(giveUp), updateStatus: undefined, rollBack: false, wakeAtMs: undefined };
  }

  const { slots, carried } = carryOver(view, service, found);
  const judge = new NodeJudge(view, nowMs);
  const context = contextOf(view, service, judge, nowMs);
  const { kept, changes } =
    service.spec?.mode === 'global'
      ? planGlobal(slots, wishesOf(view, service), context)
      : planReplicas(service, slots, context);

  const slotPlans = kept.map((slot) => ({ slot, plan: planSlot(slot, context) }));
  const stable: Slot[] = slotPlans.filter(({ plan }) => plan.changes.length === 0).map(({ slot }) => slot);
  const update = planUpdate(service, view.serviceStatuses.get(service.id), kept, stable, context);
  return {
    changes: [
      ...carried.map(carry),
      ...changes,
      ...slotPlans.flatMap(({ plan }) => plan.changes),
      ...update.changes,
    ],
    updateStatus: update.status,
    rollBack: update.rollBack,
    wakeAtMs: earliest([...slotPlans.map(({ plan }) => plan.wakeAtMs), update.wakeAtMs, judge.wakeAtMs]),
  };
}

const carry = (task: Task): TaskChange => ({ kind: 'carry', task });

function contextOf(view: View, service: Service, judge: NodeJudge, nowMs: number): SlotContext {
  return {
    policy: service.spec?.task?.restart,
    specVersion: service.specVersion,
    nowMs,
    verdictOf: (task) => judge.of(task),
    hasStopped: (taskId) => {
      const task = view.tasks.get(taskId);
      return !task || hasStopped(view, task);
    },
  };
}

function wishesOf(view: View, service: Service): Map<string, NodeWish> {
  const constraints = parseConstraints(service.spec?.task?.placement?.constraints ?? []);
  const wishOf = (node: Node): NodeWish => {
    const status = view.nodeStatuses.get(node.id);
    if (!isNodeUp(status)) return 'kept';
    if (node.availability === 'drain' || !meetsConstraints(constraints, node, status)) return 'refused';
    return node.availability === 'pause' ? 'kept' : 'wanted';
  };
  return new Map([...view.nodes.all()].map((node) => [node.id, wishOf(node)]));
}
