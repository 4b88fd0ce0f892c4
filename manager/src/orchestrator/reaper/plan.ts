import { type Cluster, isTerminal, type Service, type Task } from '@tessera/shared/model';
import { hasStopped, isAssigned, observed } from '../../loops/facts.js';
import type { View } from '../../store/view.js';
import { compareEpochs, slotKey } from '../slots.js';

/**
 * The tasks of a service that are to be deleted: those that had to go and have stopped, and in each slot the
 * oldest ended ones beyond the cluster's history limit.
 *
 * Source: swarmkit manager/orchestrator/taskreaper; the limit counts all tasks of a slot, its running one too.
 */
export function planReap(view: View, serviceId: string): Task[] {
  const service = view.services.get(serviceId);
  const tasks = view.tasks.byService(serviceId);
  const finished = tasks.filter((task) => isFinished(view, task, service));
  const finishedIds = new Set(finished.map(({ id }) => id));
  const kept = tasks.filter(({ id }) => !finishedIds.has(id));
  return [...finished, ...beyondHistory(view, kept, historyLimit(view.cluster))];
}

/** Nobody asks for it any more: not its slot's history, and no agent. */
function isFinished(view: View, task: Task, service: Service | undefined): boolean {
  if (task.state === 'orphaned') return task.desiredState !== 'running' && task.desiredState !== 'ready';
  switch (task.desiredState) {
    case 'remove':
      return isTerminal(observed(view, task)) || !isAssigned(task) || !view.nodes.get(task.nodeId);
    case 'shutdown':
      // What never got as far as a node has no history to show.
      return !isAssigned(task) || (!service && isTerminal(observed(view, task)));
    default:
      return false;
  }
}

function beyondHistory(view: View, tasks: readonly Task[], limit: number): Task[] {
  const slots = new Map<string, Task[]>();
  for (const task of tasks) {
    const key = slotKey(task);
    const slot = slots.get(key);
    if (slot) slot.push(task);
    else slots.set(key, [task]);
  }
  return [...slots.values()].flatMap((slot) => {
    if (slot.length <= limit) return [];
    // The last one holds the slot, whatever became of it.
    const past = slot.sort(compareEpochs).slice(0, -1);
    const ended = past.filter((task) => task.desiredState === 'shutdown' && isTerminal(observed(view, task)));
    return ended.slice(0, slot.length - Math.max(1, limit));
  });
}

const historyLimit = (cluster: Cluster | undefined): number => cluster?.spec?.taskHistoryLimit ?? 0;

/**
 * Whether a service that is being removed can be forgotten: nothing of it runs on any node that can be reached.
 * Its tasks on nodes that are down are kept, so that those nodes are told to stop them.
 */
export function isServiceDone(view: View, service: Service): boolean {
  return (
    service.removing &&
    view.tasks
      .byService(service.id)
      .every((task) => task.desiredState === 'remove' && isAssigned(task) && isOutOfReach(view, task))
  );
}

const isOutOfReach = (view: View, task: Task): boolean =>
  !isTerminal(observed(view, task)) && hasStopped(view, task);

/** Ids of the service's templates that no task, nor its current or previous spec, refers to. */
export function unusedSpecs(view: View, serviceId: string): string[] {
  const service = view.services.get(serviceId);
  const used = new Set(view.tasks.byService(serviceId).map((task) => task.specVersion));
  const unused: string[] = [];
  for (const spec of view.specs.all()) {
    if (spec.serviceId !== serviceId || used.has(spec.version)) continue;
    // A version ahead of the service's is one whose service is about to be written.
    if (service && spec.version >= service.specVersion - 1) continue;
    unused.push(`${serviceId}/${spec.version}`);
  }
  return unused;
}

/** Whether anything still refers to a network that is being removed. */
export function isNetworkInUse(view: View, networkId: string): boolean {
  for (const service of view.services.all()) {
    if (service.spec?.task?.networks.some((network) => network.networkId === networkId)) return true;
  }
  for (const { networks } of view.containers.all()) {
    if (networks.some((network) => network.networkId === networkId)) return true;
  }
  for (const task of view.tasks.all()) {
    if (task.networks.some((network) => network.networkId === networkId)) return true;
  }
  return false;
}
