import {
  isBefore,
  isTerminal,
  observedState,
  type Service,
  type Task,
  type TaskStatus,
} from '@tessera/shared/model';
import { Assignment, type Endpoint, type Endpoint_State } from '@tessera/shared/wire';
import type { View } from '../store/view.js';
import { containerBody, containerEndpoint, dataPathAddr } from './container-items.js';

/** Handed to its node: the scheduler has placed it, and its node has not been given up. */
export const isHandedOut = (task: Task): boolean =>
  task.nodeId !== '' && !isBefore(task.state, 'assigned') && task.state !== 'orphaned';

/** It has a place on its networks: handed out, and not ended yet as far as we know. */
export const hasEndpoints = (task: Task, status: TaskStatus | undefined): boolean =>
  isHandedOut(task) && !isTerminal(observedState(task, status));

/** The networks a task has an endpoint on. */
export const networksOfTask = (task: Task): string[] =>
  task.networks.filter(({ addr }) => addr !== '').map(({ networkId }) => networkId);

/** The networks a service is reached on. */
export function networksOfService(view: View, service: Service): string[] {
  const spec = service.spec?.task?.networks.map(({ networkId }) => networkId) ?? [];
  const allocated = view.serviceStatuses.get(service.id)?.virtualIps.map(({ networkId }) => networkId) ?? [];
  return [...new Set([...spec, ...allocated])];
}

export const itemKey = {
  task: (id: string) => `task/${id}`,
  network: (id: string) => `network/${id}`,
  endpoint: (taskId: string, networkId: string) => `endpoint/${taskId}/${networkId}`,
  virtualService: (serviceId: string, networkId: string) => `virtual-service/${serviceId}/${networkId}`,
  image: (id: string) => `image/${id}`,
  node: (id: string) => `node/${id}`,
  container: (id: string) => `container/${id}`,
  volume: (id: string) => `volume/${id}`,
};

/**
 * What is handed out under a key, made from the cluster's state; undefined when there is no such thing.
 * It is the same for every node that gets it.
 */
export function makeItem(view: View, key: string): Assignment | undefined {
  const [kind, first = '', second = ''] = key.split('/');
  const item = makeBody(view, kind, first, second);
  return item && { key, item };
}

function makeBody(view: View, kind: string | undefined, first: string, second: string): Assignment['item'] {
  switch (kind) {
    case 'task':
      return taskBody(view, first);
    case 'network':
      return networkBody(view, first);
    case 'endpoint':
      return endpointBody(view, first, second);
    case 'virtual-service':
      return virtualServiceBody(view, first, second);
    case 'image':
      return view.imagePlacements.get(first) && { $case: 'image', value: { imageId: first } };
    case 'node': {
      const node = view.nodes.get(first);
      return node && { $case: 'node', value: node };
    }
    case 'container':
      return containerBody(view, first);
    case 'volume': {
      const volume = view.volumes.get(first);
      return volume?.ordered ? { $case: 'volume', value: volume } : undefined;
    }
    default:
      return undefined;
  }
}

function taskBody(view: View, taskId: string): Assignment['item'] {
  const task = view.tasks.get(taskId);
  if (!task || !isHandedOut(task)) return undefined;
  return { $case: 'task', value: { ...task, spec: view.specOf(task) } };
}

function networkBody(view: View, networkId: string): Assignment['item'] {
  const network = view.networks.get(networkId);
  const status = view.networkStatuses.get(networkId);
  if (!network || !status) return undefined;
  return {
    $case: 'network',
    value: { network, status, dataPathPort: view.cluster?.spec?.dataPathPort ?? 0 },
  };
}

function endpointBody(view: View, taskId: string, networkId: string): Assignment['item'] {
  if (view.containers.get(taskId)) return containerEndpoint(view, taskId, networkId);
  const task = view.tasks.get(taskId);
  const status = view.taskStatuses.get(taskId);
  const attachment = task?.networks.find((one) => one.networkId === networkId && one.addr !== '');
  if (!task || !attachment || !hasEndpoints(task, status)) return undefined;
  const value: Endpoint = {
    taskId,
    networkId,
    nodeId: task.nodeId,
    nodeAddr: dataPathAddr(view, task.nodeId),
    addr: attachment.addr,
    mac: attachment.mac,
    serviceId: task.serviceId,
    serviceName: task.serviceName,
    aliases: [...new Set([taskName(task), ...attachment.aliases])],
    state: endpointState(task, status),
    slot: task.slot,
  };
  return { $case: 'endpoint', value };
}

/** Listed while it runs and is meant to; leaving as soon as it is meant to stop. */
function endpointState(task: Task, status: TaskStatus | undefined): Endpoint_State {
  if (!isBefore(task.desiredState, 'complete')) return 'draining';
  return observedState(task, status) === 'running' && task.desiredState === 'running' ? 'ready' : 'starting';
}

/** `web.1.<task id>`, as Docker names the tasks of a service, with the node's id where there is no slot. */
export const taskName = (task: Task): string =>
  `${task.serviceName}.${task.slot === 0 ? task.nodeId : task.slot}.${task.id}`;

function virtualServiceBody(view: View, serviceId: string, networkId: string): Assignment['item'] {
  const service = view.services.get(serviceId);
  if (!service || !networksOfService(view, service).includes(networkId)) return undefined;
  const mode = service.spec?.endpoint?.mode ?? 'vip';
  const vip = view.serviceStatuses.get(serviceId)?.virtualIps.find((one) => one.networkId === networkId);
  const attachment = service.spec?.task?.networks.find((one) => one.networkId === networkId);
  // Without an address there is nothing to answer a name with; it comes when the allocator has been there.
  if (mode === 'vip' && !vip) return undefined;
  return {
    $case: 'virtualService',
    value: {
      serviceId,
      serviceName: service.spec?.name ?? '',
      networkId,
      addr: mode === 'vip' ? (vip?.addr ?? '') : '',
      mode,
      aliases: [...(attachment?.aliases ?? [])],
    },
  };
}

/** The bytes an item goes over the wire as; equal bytes mean that nothing has changed. */
export const encodeItem = (item: Assignment): Uint8Array => Assignment.encode(item).finish();
