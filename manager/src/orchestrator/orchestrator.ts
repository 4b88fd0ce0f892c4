import type { Clock, Random } from '@tessera/shared/env';
import type { Service } from '@tessera/shared/model';
import { hasStopped, observed } from '../loops/facts.js';
import type { LoopDefinition, Outcome } from '../loops/leader-loop.js';
import type { Change, Store, View } from '../store/view.js';
import { NodeJudge } from './node-verdict.js';
import { earliest, giveUp, planReplicas } from './replicated/plan.js';
import type { Plan, SlotContext } from './slot-plan.js';
import { allSlots, type TaskFacts } from './slots.js';
import { applyChange, firstPiece } from './task-change.js';

/** Objects written per transaction; etcd takes 128 operations, compares included in their own count. */
const WEIGHT_MAX = 90;

export interface OrchestratorEnvironment {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
}

/** Keeps every service's tasks at what its spec asks for. Ids are services. */
export function orchestratorLoop(environment: OrchestratorEnvironment): LoopDefinition {
  return {
    name: 'orchestrator',
    concurrency: 8,
    ids: (view) => [...view.services.all()].map(({ id }) => id),
    touched,
    reconcile: (id) => reconcileService(environment, id),
  };
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const change of changes) {
    switch (change.kind) {
      case 'services':
        yield change.id;
        break;
      case 'tasks': {
        const task = (change as Change<'tasks'>).after ?? (change as Change<'tasks'>).before;
        if (task) yield task.serviceId;
        break;
      }
      case 'taskStatuses': {
        const task = view.tasks.get(change.id);
        if (task) yield task.serviceId;
        break;
      }
      case 'nodes':
      case 'nodeStatuses':
        yield* servicesOn(change as Change<'nodes' | 'nodeStatuses'>, view);
        break;
    }
  }
}

/** Services with tasks on the node, and the global ones, which may now owe it a task. */
function* servicesOn(change: Change<'nodes' | 'nodeStatuses'>, view: View): Iterable<string> {
  for (const task of view.tasks.byNode(change.id)) yield task.serviceId;
  for (const service of view.services.all()) if (service.spec?.mode === 'global') yield service.id;
}

async function reconcileService(environment: OrchestratorEnvironment, serviceId: string): Promise<Outcome> {
  const { store, clock, random } = environment;
  let worked = false;
  for (;;) {
    const { wakeAtMs, left } = await store.update((tx) => {
      const service = tx.services.get(serviceId);
      if (!service) return { wakeAtMs: undefined, left: 0 };

      const nowMs = clock.now();
      const plan = planService(tx, service, nowMs);
      const piece = firstPiece(plan.changes, WEIGHT_MAX);
      for (const change of piece) applyChange(tx, { service, cluster: tx.cluster, random, nowMs }, change);
      // A service whose removal begins meanwhile must not be given tasks.
      if (piece.length > 0) {
        worked = true;
        tx.require('services', serviceId);
      }
      return { wakeAtMs: plan.wakeAtMs, left: plan.changes.length - piece.length };
    });
    if (left === 0) return { worked, wakeAtMs };
  }
}

/** All that this service's tasks need now. */
export function planService(view: View, service: Service, nowMs: number): Plan {
  const tasks: TaskFacts[] = view.tasks.byService(service.id).map((task) => ({
    task,
    observed: observed(view, task),
    status: view.taskStatuses.get(task.id),
  }));
  if (service.removing) return { changes: allSlots(tasks).flatMap(giveUp), wakeAtMs: undefined };

  const judge = new NodeJudge(view, nowMs);
  const context: SlotContext = {
    policy: service.spec?.task?.restart,
    specVersion: service.specVersion,
    nowMs,
    verdictOf: (task) => judge.of(task),
    hasStopped: (taskId) => {
      const task = view.tasks.get(taskId);
      return !task || hasStopped(view, task);
    },
  };
  const plan = planReplicas(service, tasks, context);
  return { changes: plan.changes, wakeAtMs: earliest([plan.wakeAtMs, judge.wakeAtMs]) };
}
