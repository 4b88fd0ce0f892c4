import type { NetworkContainerJson, NetworkJson } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import { type IpamPool, type Network, NetworkSpec, observedState } from '@tessera/shared/model';
import { z } from 'zod';
import { type Networks, taskName } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { empty, json, type Route, route } from '../route.js';
import { Filters } from './filters.js';
import {
  flag,
  isTrue,
  omitEmpty,
  parseBody,
  sortedMap,
  strictObject,
  text,
  textMap,
  timeJson,
} from './json-edge.js';

const FILTERS = ['id', 'name', 'label', 'driver', 'scope', 'type', 'dangling'] as const;
const PRUNE_FILTERS = ['label', 'label!', 'until'] as const;
/** Docker's name for IPAM within this engine. */
const IPAM_DRIVER = 'default';

const networkCreate = strictObject(
  {
    Name: z.string('give the network a name'),
    Driver: text,
    Scope: z.literal(['', 'swarm'], 'networks here span the cluster; leave it out').nullish(),
    CheckDuplicate: flag,
    Internal: flag,
    Attachable: flag,
    EnableIPv4: flag,
    EnableIPv6: flag,
    IPAM: strictObject(
      {
        Driver: z.literal(['', IPAM_DRIVER], 'only the default address manager is there').nullish(),
        Config: z
          .array(
            strictObject(
              { Subnet: text, Gateway: text, IPRange: text },
              { AuxiliaryAddresses: 'reserved addresses are not supported yet; leave them out' },
            ),
          )
          .nullish(),
      },
      { Options: 'IPAM options are not supported; leave them out' },
    ).nullish(),
    Options: textMap,
    Labels: textMap,
  },
  {
    Ingress: 'a routing mesh network is not supported yet; leave --ingress out',
    ConfigOnly: 'configuration-only networks are not supported; leave --config-only out',
    ConfigFrom: 'configuration-only networks are not supported; leave --config-from out',
  },
);

/** `/networks`, Docker Engine API v1.24 and later. */
export function networkRoutes(networks: Networks): Route[] {
  return [
    route('GET', '/networks', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), FILTERS);
      const { view, networks: all } = await networks.list();
      return json(
        200,
        all
          .filter((network) => matches(filters, view, network))
          .map((network) => networkToDocker(view, network)),
      );
    }),

    route('GET', '/networks/:id', async ({ params, query }) => {
      const { view, network } = await networks.inspect(params.id!);
      if (isTrue(query.get('verbose'))) throw invalid('verbose: is not supported yet; leave --verbose out');
      const scope = query.get('scope') ?? '';
      if (scope !== '' && scope !== 'swarm') throw invalid(`no network ${params.id} of scope ${scope}`);
      return json(200, { ...networkToDocker(view, network), Containers: containersOf(view, network.id) });
    }),

    route('POST', '/networks/create', async ({ body }) => {
      const network = await networks.create(networkSpecFromDocker(body));
      return json(201, { Id: network.id, Warning: '' });
    }),

    route('POST', '/networks/prune', async ({ query }) => {
      const filters = Filters.parse(query.get('filters'), PRUNE_FILTERS);
      if (filters.has('until')) throw invalid("filter 'until' is not supported for networks; leave it out");
      const removed = await networks.prune(
        ({ spec }) =>
          filters.labels('label', spec?.labels ?? {}) &&
          !(filters.has('label!') && filters.labels('label!', spec?.labels ?? {})),
      );
      return json(200, { NetworksDeleted: removed });
    }),

    route('DELETE', '/networks/:id', async ({ params }) => {
      await networks.remove(params.id!);
      return empty(204);
    }),
  ];
}

function networkSpecFromDocker(body: unknown): NetworkSpec {
  const json = parseBody('network', networkCreate, body);
  if (json.EnableIPv4 === false) {
    throw invalid('invalid network: EnableIPv4: a network needs IPv4; leave it out');
  }
  return NetworkSpec.fromPartial({
    name: json.Name,
    // Docker's default is a bridge on one host; here every network may span hosts.
    driver: json.Driver || 'overlay',
    labels: sortedMap(json.Labels),
    attachable: json.Attachable ?? false,
    internal: json.Internal ?? false,
    enableIpv6: json.EnableIPv6 ?? false,
    ipam: (json.IPAM?.Config ?? []).map(({ Subnet, Gateway, IPRange }) => ({
      subnet: Subnet ?? '',
      gateway: Gateway ?? '',
      ipRange: IPRange ?? '',
    })),
    options: sortedMap(json.Options),
  });
}

function matches(filters: Filters<(typeof FILTERS)[number]>, view: View, network: Network): boolean {
  const { spec, id } = network;
  return (
    filters.prefix('id', id) &&
    filters.any('name', (value) => (spec?.name ?? '').includes(value)) &&
    filters.labels('label', spec?.labels ?? {}) &&
    filters.exactly('driver', spec?.driver ?? '') &&
    filters.exactly('scope', 'swarm') &&
    filters.exactly('type', 'custom') &&
    filters.any('dangling', (value) => (value === 'true' || value === '1') === !isUsed(view, id))
  );
}

const isUsed = (view: View, networkId: string): boolean =>
  [...view.services.all()].some((service) =>
    service.spec?.task?.networks.some((attachment) => attachment.networkId === networkId),
  );

export function networkToDocker(view: View, network: Network): NetworkJson {
  const { spec } = network;
  const status = view.networkStatuses.get(network.id);
  // Before the leader has allocated: what the user asked for.
  const pools = status?.pools.length ? status.pools : (spec?.ipam ?? []);
  return {
    Name: spec?.name ?? '',
    Id: network.id,
    Created: timeJson(network.meta?.createdAtMs ?? 0),
    Scope: 'swarm',
    Driver: spec?.driver ?? 'overlay',
    EnableIPv4: true,
    EnableIPv6: spec?.enableIpv6 ?? false,
    IPAM: { Driver: IPAM_DRIVER, Options: null, Config: pools.map(poolToDocker) },
    Internal: spec?.internal ?? false,
    Attachable: spec?.attachable ?? false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: {
      ...(status?.vni ? { 'com.docker.network.driver.overlay.vxlanid_list': String(status.vni) } : {}),
      ...(spec?.options ?? {}),
    },
    Labels: spec?.labels ?? {},
  };
}

const poolToDocker = ({ subnet, gateway, ipRange }: IpamPool) =>
  omitEmpty<{ Subnet?: string; Gateway?: string; IPRange?: string }>({
    Subnet: subnet,
    Gateway: gateway,
    IPRange: ipRange,
  });

/** Every running task's container on the network, on whichever node: Docker shows those of one host only. */
function containersOf(view: View, networkId: string): Record<string, NetworkContainerJson> {
  const containers: Record<string, NetworkContainerJson> = {};
  for (const task of view.tasks.all()) {
    const attachment = task.networks.find((candidate) => candidate.networkId === networkId);
    const status = view.taskStatuses.get(task.id);
    if (!attachment || !status?.container || observedState(task, status) !== 'running') continue;
    containers[status.container.containerId] = {
      Name: `${taskName(task)}.${task.id}`,
      EndpointID: task.id,
      MacAddress: attachment.mac,
      IPv4Address: attachment.addr,
      IPv6Address: '',
    };
  }
  return containers;
}
