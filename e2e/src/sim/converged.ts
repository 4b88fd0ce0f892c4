import type { View } from '@tessera/manager/store';
import type { MemoryEngine } from '@tessera/manager/store/testing';
import { isBefore, isTerminal, observedState, type Service, type Task } from '@tessera/shared/model';
import type { Containers } from './containers.js';
import { BEHAVIOUR_LABEL } from './sim-task.js';

const CLAIMS = '/tessera/v1/claims/';

/** Everything that is not yet as it should be when nothing breaks any more and nobody asks for anything. */
export function findUnsettled(
  view: View,
  containers: Containers,
  engine: MemoryEngine,
  nowMs: number,
): string[] {
  const found: string[] = [];
  for (const service of view.services.all()) found.push(...unsettledService(view, service, nowMs));
  for (const { spec, removing } of view.networks.all())
    if (removing) found.push(`network ${spec?.name} is still being removed`);
  for (const task of view.tasks.all()) {
    if (!view.services.get(task.serviceId)) found.push(`task ${task.id} has no service`);
  }
  for (const { nodeId } of view.nodeStatuses.all())
    if (!view.nodes.get(nodeId)) found.push(`status of node ${nodeId} is left over`);
  for (const { nodeId } of view.sessions.all())
    if (!view.nodes.get(nodeId)) found.push(`session of node ${nodeId} is left over`);
  for (const { taskId } of view.taskStatuses.all())
    if (!view.tasks.get(taskId)) found.push(`status of ${taskId} is left over`);
  for (const { task } of containers.all()) {
    const known = view.tasks.get(task.id);
    if (!known || !isBefore(known.desiredState, 'complete')) found.push(`container of ${task.id} still runs`);
  }
  return [...found, ...leftoverClaims(view, engine)];
}

function unsettledService(view: View, service: Service, nowMs: number): string[] {
  const name = service.spec?.name;
  if (service.removing) return [`service ${name} is still being removed`];
  const tasks = view.tasks.byService(service.id);
  const wanted = tasks.filter((task) => isBefore(task.desiredState, 'complete'));
  const slots = new Set(wanted.map((task) => (task.slot === 0 ? task.nodeId : task.slot)));
  const found: string[] = [];
  const behaviour = service.spec?.labels[BEHAVIOUR_LABEL];
  // What keeps ending comes and goes; what must hold of it is that it is bounded.
  const mayEnd = behaviour !== 'steady' && behaviour !== 'stubborn';
  const expected = service.spec?.mode === 'global' ? undefined : service.spec?.replicas;
  if (!mayEnd) {
    if (expected !== undefined && slots.size !== expected)
      found.push(`service ${name} has ${slots.size} of ${expected} slots`);
    for (const task of wanted) if (!isUpOrExplained(view, task)) found.push(describe(view, task, nowMs));
    found.push(...doubledSlots(view, service, wanted));
  }
  const perSlot = new Map<string, number>();
  for (const task of tasks) {
    const key = task.slot === 0 ? task.nodeId : String(task.slot);
    perSlot.set(key, (perSlot.get(key) ?? 0) + 1);
  }
  const limit = Math.max(1, view.cluster?.spec?.taskHistoryLimit ?? 0) + 1;
  for (const [slot, count] of perSlot)
    if (count > limit) found.push(`slot ${slot} of ${name} keeps ${count} tasks`);
  const update = view.serviceStatuses.get(service.id)?.update;
  if (!mayEnd && update?.state === 'updating' && wanted.every((task) => isUp(view, task)))
    found.push(`the update of ${name} does not end`);
  return found;
}

/** The older task of a start-first pair stays until the newer one runs, and no longer. */
function doubledSlots(view: View, service: Service, wanted: readonly Task[]): string[] {
  return wanted
    .filter((task) => isUp(view, task))
    .filter((newer) =>
      wanted.some(
        (older) =>
          older.slot === newer.slot &&
          older.slot !== 0 &&
          (older.epoch?.number ?? 0) < (newer.epoch?.number ?? 0),
      ),
    )
    .map((task) => `slot ${task.slot} of ${service.spec?.name} holds more than task ${task.id}`);
}

const isUp = (view: View, task: Task): boolean =>
  observedState(task, view.taskStatuses.get(task.id)) === 'running';

/** A task that finds no room, or no address, waits and says so. */
function isUpOrExplained(view: View, task: Task): boolean {
  if (isUp(view, task)) return task.desiredState === 'running';
  return (task.state === 'pending' || task.state === 'new') && task.pendingReason !== '';
}

function describe(view: View, task: Task, nowMs: number): string {
  const observed = observedState(task, view.taskStatuses.get(task.id));
  const waits = isTerminal(observed) ? '' : ` for ${nowMs - task.desiredSinceMs} ms`;
  const { id, serviceName, slot, nodeId, desiredState, pendingReason, startNotBeforeMs } = task;
  const delayed = startNotBeforeMs > nowMs ? ` (waits ${startNotBeforeMs - nowMs} ms)` : '';
  return `task ${id} of ${serviceName} slot ${slot} on ${nodeId || 'no node'} is ${observed}, desired ${desiredState}${waits}${delayed}: ${pendingReason}`;
}

/** Claims whose owner is gone or does not know of them: addresses that would leak. */
function leftoverClaims(view: View, engine: MemoryEngine): string[] {
  return engine.range({ key: CLAIMS, prefix: true }).kvs.flatMap(({ key, value }) => {
    const claim = key.slice(CLAIMS.length);
    const owner = Buffer.from(value).toString();
    return isHeld(view, claim, owner) ? [] : [`claim ${claim} of ${owner} is left over`];
  });
}

function isHeld(view: View, claim: string, owner: string): boolean {
  const [kind, first, second] = claim.split('/');
  const [ownerKind, ownerId = ''] = owner.split('/');
  if (kind !== 'ip') {
    if (ownerKind === 'container') return view.containers.get(ownerId)?.removing === false;
    if (ownerKind === 'service') return view.services.get(ownerId) !== undefined;
    return view.networks.get(ownerId) !== undefined;
  }
  const places =
    ownerKind === 'task' ? view.tasks.get(ownerId)?.networks : view.serviceStatuses.get(ownerId)?.virtualIps;
  return places?.some(({ networkId, addr }) => networkId === first && addr.startsWith(`${second}/`)) ?? false;
}
