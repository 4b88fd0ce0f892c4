import type { Clock, Random } from '@tessera/shared/env';
import { isBefore, type Service, ServiceStatus, SpecVersion, type UpdateStatus } from '@tessera/shared/model';
import type { LoopDefinition, Outcome } from '../loops/leader-loop.js';
import type { Change, Store, Transaction, View } from '../store/view.js';
import { planService, type ServicePlan } from './service-plan.js';
import { applyChange, firstPiece } from './task-change.js';

/** Objects written per transaction; etcd takes 128 operations, compares included in their own count. */
const WEIGHT_MAX = 100;

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
        const { before, after } = change as Change<'tasks'>;
        // On its way to a node nothing is to be decided about it.
        const isMove =
          before && after && before.desiredState === after.desiredState && after.state !== 'orphaned';
        if (!isMove) yield (after ?? before)!.serviceId;
        break;
      }
      case 'taskStatuses': {
        const { after } = change as Change<'taskStatuses'>;
        const task = view.tasks.get(change.id);
        if (task && after && !isBefore(after.state, 'running')) yield task.serviceId;
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
    // Most of the time there is nothing to do, and then there is nothing to commit either.
    const idle = planIdle(store.view(), serviceId, clock.now());
    if (idle) return { worked, wakeAtMs: idle.wakeAtMs };

    const { wakeAtMs, left, wrote } = await store.update((tx) => {
      const service = tx.services.get(serviceId);
      if (!service) return { wakeAtMs: undefined, left: 0, wrote: false };

      const nowMs = clock.now();
      const plan = planService(tx, service, nowMs);
      const piece = firstPiece(plan.changes, WEIGHT_MAX);
      for (const change of piece) applyChange(tx, { service, cluster: tx.cluster, random, nowMs }, change);
      // What the user wrote meanwhile decides, above all whether there is to be a service at all.
      if (piece.length > 0) tx.require('services', serviceId);
      if (plan.updateStatus) putUpdateStatus(tx, serviceId, plan.updateStatus);
      if (plan.rollBack) rollBack(tx, service);
      return {
        wakeAtMs: plan.wakeAtMs,
        left: plan.changes.length - piece.length,
        wrote: piece.length > 0 || plan.updateStatus !== undefined,
      };
    });
    worked ||= wrote;
    if (left === 0) return { worked, wakeAtMs };
  }
}

/** The plan if it is to do nothing, as far as the latest picture shows. */
function planIdle(view: View, serviceId: string, nowMs: number): Pick<ServicePlan, 'wakeAtMs'> | undefined {
  const service = view.services.get(serviceId);
  if (!service) return { wakeAtMs: undefined };
  const plan = planService(view, service, nowMs);
  return plan.changes.length === 0 && !plan.updateStatus && !plan.rollBack ? plan : undefined;
}

function putUpdateStatus(tx: Transaction, serviceId: string, update: UpdateStatus): void {
  const status = tx.serviceStatuses.get(serviceId) ?? ServiceStatus.fromPartial({ serviceId });
  tx.put('serviceStatuses', { ...status, update });
}

/** Puts the spec before back, as a version of its own: tasks never go back to an old number. */
function rollBack(tx: Transaction, service: Service): void {
  const { previousSpec: spec, specVersion, id } = service;
  if (!spec) return;
  const version = specVersion + 1;
  tx.put('services', { ...service, spec, previousSpec: undefined, specVersion: version });
  if (spec.task) tx.put('specs', SpecVersion.fromPartial({ serviceId: id, version, task: spec.task }));
}
