import type { TaskJson } from '@tessera/shared/docker-api';
import { isBefore, observedState, type Task, type TaskStatus } from '@tessera/shared/model';
import { nodeName, type Tasks, taskName } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { json, type Route, route } from '../route.js';
import { Filters } from './filters.js';
import { timeJson } from './json-edge.js';
import { objectJson } from './object-json.js';
import { taskSpecToDocker } from './service-spec-to-docker.js';

const FILTERS = [
  'id',
  'name',
  'label',
  'service',
  'node',
  'desired-state',
  'runtime',
  '_up-to-date',
] as const;

const ID_LENGTH_SHORT = 12;

/** `/tasks`, Docker Engine API v1.24 and later. */
export function taskRoutes(tasks: Tasks): Route[] {
  return [
    route('GET', '/tasks', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), FILTERS);
      const { view, tasks: all } = await tasks.list();
      return json(
        200,
        all.filter((task) => matches(filters, view, task)).map((task) => taskToDocker(view, task)),
      );
    }),

    route('GET', '/tasks/:id', async ({ params }) => {
      const { view, task } = await tasks.inspect(params.id!);
      return json(200, taskToDocker(view, task));
    }),
  ];
}

function matches(filters: Filters<(typeof FILTERS)[number]>, view: View, task: Task): boolean {
  const service = view.services.get(task.serviceId);
  return (
    filters.prefix('id', task.id) &&
    filters.prefix('name', taskName(task), task.serviceName) &&
    filters.labels('label', task.serviceLabels) &&
    filters.any('service', (value) => isMeant(value, task.serviceId, task.serviceName)) &&
    filters.any('node', (value) => task.nodeId !== '' && isNode(view, task.nodeId, value)) &&
    filters.any('desired-state', (value) => value.toLowerCase() === desiredWord(task)) &&
    filters.exactly('runtime', 'container') &&
    filters.any('_up-to-date', (value) => (value === 'true') === (task.specVersion === service?.specVersion))
  );
}

/** What a task is to become, in the three words that Docker's filter knows. */
const desiredWord = (task: Task): string =>
  isBefore(task.desiredState, 'ready') ? 'accepted' : task.desiredState;

/** By name, by id, or by as much of the id as lists show. */
const isMeant = (value: string, id: string, name: string): boolean =>
  value === name || value === id || (value.length >= ID_LENGTH_SHORT && id.startsWith(value));

function isNode(view: View, nodeId: string, value: string): boolean {
  const node = view.nodes.get(nodeId);
  return isMeant(value, nodeId, node ? nodeName(view, node) : nodeId);
}

export function taskToDocker(view: View, task: Task): TaskJson {
  const status = view.taskStatuses.get(task.id);
  const spec = view.specOf(task);
  return {
    ...objectJson(task),
    Name: taskName(task),
    Labels: {},
    Spec: taskSpecToDocker(spec),
    ServiceID: task.serviceId,
    ...(task.slot > 0 ? { Slot: task.slot } : {}),
    ...(task.nodeId ? { NodeID: task.nodeId } : {}),
    Status: statusToDocker(task, status),
    DesiredState: task.desiredState,
    ...(task.networks.length > 0
      ? {
          NetworksAttachments: task.networks.flatMap(({ networkId, addr }) => {
            const network = view.networks.get(networkId);
            if (!network) return [];
            return [
              {
                Network: {
                  ...objectJson(network),
                  Spec: { Name: network.spec?.name ?? '', Labels: network.spec?.labels ?? {} },
                },
                Addresses: addr ? [addr] : [],
              },
            ];
          }),
        }
      : {}),
  };
}

function statusToDocker(task: Task, status: TaskStatus | undefined): TaskJson['Status'] {
  const state = observedState(task, status);
  const error = status?.error || task.pendingReason;
  const message = status?.message || (task.pendingReason ? 'pending task scheduling' : state);
  const container = status?.container;
  return {
    // The later of the two writers' times: the leader's until an agent has spoken.
    Timestamp: timeJson(status?.atMs || task.meta?.updatedAtMs || 0),
    State: state,
    Message: message,
    ...(error ? { Err: error } : {}),
    ...(container
      ? {
          ContainerStatus: {
            ContainerID: container.containerId,
            PID: container.pid,
            ExitCode: container.exitCode,
          },
        }
      : {}),
    PortStatus: {},
  };
}
