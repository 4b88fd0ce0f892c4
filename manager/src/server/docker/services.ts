import type { ServiceJson } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import { isBefore, observedState, type Service, type UpdateStatus } from '@tessera/shared/model';
import type { Services } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { empty, json, type Route, route } from '../route.js';
import { Filters } from './filters.js';
import { isTrue, parseVersion, timeJson } from './json-edge.js';
import { objectJson } from './object-json.js';
import { authOf } from './registry.js';
import { serviceSpecFromDocker } from './service-spec-from-docker.js';
import { serviceSpecToDocker } from './service-spec-to-docker.js';

const FILTERS = ['id', 'name', 'label', 'mode', 'runtime'] as const;

/** `/services`, Docker Engine API v1.24 and later. */
export function serviceRoutes(services: Services): Route[] {
  return [
    route('GET', '/services', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), FILTERS);
      const withStatus = isTrue(query.get('status'));
      const { view, services: all } = await services.list();
      const matching = all.filter((service) => matches(filters, service));
      return json(
        200,
        matching.map((service) => ({
          ...serviceToDocker(view, service),
          ...(withStatus ? { ServiceStatus: statusOf(view, service) } : {}),
        })),
      );
    }),

    route('POST', '/services/create', async ({ body, headers, signal }) => {
      const auth = { registryAuth: authOf(headers), from: 'spec' } as const;
      const service = await services.create(serviceSpecFromDocker(body), auth, signal);
      return json(201, { ID: service.id, Warnings: [] });
    }),

    route('GET', '/services/:id', async ({ params }) => {
      const { view, service } = await services.inspect(params.id!);
      return json(200, serviceToDocker(view, service));
    }),

    route('POST', '/services/:id/update', async ({ params, query, headers, body, signal }) => {
      const rollback = query.get('rollback') ?? '';
      if (rollback !== '' && rollback !== 'previous') {
        throw invalid(`unrecognized rollback option ${rollback}: only 'previous' is known`);
      }
      const index = parseVersion(query.get('version'));
      await services.update(
        params.id!,
        index,
        serviceSpecFromDocker(body),
        rollback === '' ? 'given' : 'previous',
        { registryAuth: authOf(headers), from: authSource(query.get('registryAuthFrom') ?? '') },
        signal,
      );
      return json(200, { Warnings: [] });
    }),

    route('DELETE', '/services/:id', async ({ params }) => {
      await services.remove(params.id!);
      return empty();
    }),
  ];
}

function authSource(text: string): 'spec' | 'previous-spec' {
  if (text === '' || text === 'spec') return 'spec';
  if (text === 'previous-spec') return 'previous-spec';
  throw invalid(`registryAuthFrom: ${text} is not spec or previous-spec`);
}

function matches(filters: Filters<(typeof FILTERS)[number]>, service: Service): boolean {
  const { spec, id } = service;
  return (
    filters.prefix('id', id) &&
    filters.prefix('name', spec?.name ?? '') &&
    filters.labels('label', spec?.labels ?? {}) &&
    filters.exactly('mode', spec?.mode ?? '') &&
    filters.exactly('runtime', 'container')
  );
}

export function serviceToDocker(view: View, service: Service): ServiceJson {
  const status = view.serviceStatuses.get(service.id);
  const addresses = status?.virtualIps ?? [];
  // As Swarm: an update's status is dropped by the next one, and the leader may not have begun that yet.
  // A roll-back that was just asked for has no index yet; it is as current as can be.
  const isCurrent = [0, service.meta?.index ?? 0].includes(status?.update?.serviceIndex ?? 0);
  const update = status?.update && isCurrent ? updateToDocker(status.update) : undefined;
  return {
    ...objectJson(service),
    Spec: serviceSpecToDocker(service.spec!),
    ...(service.previousSpec ? { PreviousSpec: serviceSpecToDocker(service.previousSpec) } : {}),
    Endpoint: {
      Spec: { Mode: service.spec?.endpoint?.mode ?? 'vip' },
      ...(addresses.length > 0
        ? { VirtualIPs: addresses.map(({ networkId, addr }) => ({ NetworkID: networkId, Addr: addr })) }
        : {}),
    },
    ...(update ? { UpdateStatus: update } : {}),
  };
}

function updateToDocker(update: UpdateStatus): ServiceJson['UpdateStatus'] {
  if (update.state === 'none' || update.state === 'UNRECOGNIZED') return undefined;
  return {
    State: update.state,
    ...(update.startedAtMs > 0 ? { StartedAt: timeJson(update.startedAtMs) } : {}),
    ...(update.completedAtMs > 0 ? { CompletedAt: timeJson(update.completedAtMs) } : {}),
    Message: update.message,
  };
}

/** How many of a service's tasks run, and should. Source: swarmkit's ListServiceStatuses. */
export function statusOf(view: View, service: Service): NonNullable<ServiceJson['ServiceStatus']> {
  let running = 0;
  let wanted = 0;
  for (const task of view.tasks.byService(service.id)) {
    if (observedState(task, view.taskStatuses.get(task.id)) === 'running') running++;
    if (isBefore(task.desiredState, 'complete')) wanted++;
  }
  const desired = service.spec?.mode === 'global' ? wanted : (service.spec?.replicas ?? 0);
  return { RunningTasks: running, DesiredTasks: desired, CompletedTasks: 0 };
}
