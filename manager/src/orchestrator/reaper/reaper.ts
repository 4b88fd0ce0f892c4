import { isTerminal, type Task } from '@tessera/shared/model';
import type { LoopDefinition, Outcome } from '../../loops/leader-loop.js';
import type { Change, Store, Transaction, View } from '../../store/view.js';
import { isNetworkInUse, isServiceDone, planReap, unusedSpecs } from './plan.js';

/** Keys deleted per transaction. */
const WRITES_MAX = 90;

/**
 * Deletes what is finished, with its status and claims: tasks that have stopped and had to, history beyond its
 * bound, templates that nothing names, and services and networks that are being removed once nothing needs them.
 */
export function reaperLoop(store: Store): LoopDefinition {
  return {
    name: 'reaper',
    concurrency: 4,
    ids,
    touched,
    reconcile: (id) => {
      const [kind, objectId = ''] = id.split('/');
      return kind === 'network' ? reapNetwork(store, objectId) : reapService(store, objectId);
    },
  };
}

/** Services that are gone but for tasks or templates are found by those. */
function ids(view: View): Iterable<string> {
  const found = new Set<string>();
  for (const { id } of view.services.all()) found.add(`service/${id}`);
  for (const { serviceId } of view.tasks.all()) found.add(`service/${serviceId}`);
  for (const { serviceId } of view.specs.all()) found.add(`service/${serviceId}`);
  for (const { id, removing } of view.networks.all()) if (removing) found.add(`network/${id}`);
  return found;
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const change of changes) {
    switch (change.kind) {
      case 'services':
        yield `service/${change.id}`;
        // The last service that referred to a network may be gone.
        if (!change.after) yield* removingNetworks(view);
        break;
      case 'tasks': {
        const { before, after } = change as Change<'tasks'>;
        if (!after) yield* removingNetworks(view);
        // A task that merely moves along leaves nothing to delete; a new one may push out its slot's oldest.
        const isMove =
          before && after && before.desiredState === after.desiredState && after.state !== 'orphaned';
        if (!isMove) {
          yield `service/${(after ?? before)?.serviceId}`;
        }
        break;
      }
      case 'taskStatuses': {
        const { after } = change as Change<'taskStatuses'>;
        const task = view.tasks.get(change.id);
        if (task && (!after || isTerminal(after.state))) yield `service/${task.serviceId}`;
        break;
      }
      case 'nodes':
      case 'nodeStatuses':
        for (const task of view.tasks.byNode(change.id)) {
          if (task.desiredState === 'remove') yield `service/${task.serviceId}`;
        }
        break;
      case 'cluster':
        for (const { id } of view.services.all()) yield `service/${id}`;
        break;
      case 'containers':
        if (!change.after) yield* removingNetworks(view);
        break;
      case 'networks':
        yield `network/${change.id}`;
        break;
    }
  }
}

function* removingNetworks(view: View): Iterable<string> {
  for (const { id, removing } of view.networks.all()) if (removing) yield `network/${id}`;
}

async function reapService(store: Store, serviceId: string): Promise<Outcome> {
  let worked = false;
  for (;;) {
    const view = store.view();
    const service = view.services.get(serviceId);
    const isClean = planReap(view, serviceId).length === 0 && unusedSpecs(view, serviceId).length === 0;
    if (isClean && !(service && isServiceDone(view, service))) return { worked };

    const { left, writes } = await store.update((tx) => {
      const tasks = planReap(tx, serviceId);
      let count = 0;
      let writes = 0;
      for (const task of tasks) {
        if (count > 0 && writes + weightOf(task) > WRITES_MAX) break;
        deleteTask(tx, task);
        writes += weightOf(task);
        count++;
      }
      if (count < tasks.length) return { left: tasks.length - count, writes };
      return { left: 0, writes: writes + deleteRest(tx, serviceId, WRITES_MAX - writes) };
    });
    worked ||= writes > 0;
    if (left === 0) return { worked };
  }
}

const weightOf = (task: Task): number => 2 + task.networks.length;

function deleteTask(tx: Transaction, task: Task): void {
  tx.delete('tasks', task.id);
  tx.delete('taskStatuses', task.id);
  for (const { networkId, addr } of task.networks) {
    if (addr) releaseIfOwned(tx, `ip/${networkId}/${addr.split('/')[0]}`, `task/${task.id}`);
  }
}

/** Templates, and the service itself, when its tasks are out of the way. What does not fit waits for the next pass. */
function deleteRest(tx: Transaction, serviceId: string, room: number): number {
  let writes = 0;
  const service = tx.services.get(serviceId);
  const ips = tx.serviceStatuses.get(serviceId)?.virtualIps ?? [];
  if (service && isServiceDone(tx, service) && ips.length + 3 <= room) {
    tx.delete('services', serviceId);
    tx.delete('serviceStatuses', serviceId);
    for (const { networkId, addr } of ips) {
      releaseIfOwned(tx, `ip/${networkId}/${addr.split('/')[0]}`, `service/${serviceId}`);
    }
    releaseIfOwned(tx, `name/service/${service.spec?.name}`, `service/${serviceId}`);
    writes += ips.length + 3;
  }
  for (const id of unusedSpecs(tx, serviceId).slice(0, Math.max(0, room - writes))) {
    tx.delete('specs', id);
    writes++;
  }
  return writes;
}

async function reapNetwork(store: Store, networkId: string): Promise<Outcome> {
  const worked = await store.update((tx) => {
    const network = tx.networks.get(networkId);
    if (!network?.removing || isNetworkInUse(tx, networkId)) return false;

    const owner = `network/${networkId}`;
    const status = tx.networkStatuses.get(networkId);
    tx.delete('networks', networkId);
    tx.delete('networkStatuses', networkId);
    if (status) releaseIfOwned(tx, `vni/${status.vni}`, owner);
    for (const { subnet } of status?.pools ?? []) releaseIfOwned(tx, `subnet/${subnet.split('/')[0]}`, owner);
    releaseIfOwned(tx, `name/network/${network.spec?.name}`, owner);
    return true;
  });
  return { worked };
}

/** A successor may hold what this owner gave up before it was deleted. */
function releaseIfOwned(tx: Transaction, claim: string, owner: string): void {
  if (tx.claim(claim) === owner) tx.releaseClaim(claim);
}
