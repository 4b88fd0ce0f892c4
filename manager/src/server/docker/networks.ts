import { invalid } from '@tessera/shared/errors';
import { type Network, NetworkSpec } from '@tessera/shared/model';
import { z } from 'zod';
import { HOST_NETWORKS, type HostNetwork, type Networks } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { empty, json, type Route, route } from '../route.js';
import { Filters } from './filters.js';
import { flag, isTrue, parseBody, sortedMap, strictObject, text, textMap } from './json-edge.js';
import { hostNetworkToDocker, IPAM_DRIVER, membersOf, networkToDocker } from './network-json.js';

const FILTERS = ['id', 'name', 'label', 'driver', 'scope', 'type', 'dangling'] as const;
const PRUNE_FILTERS = ['label', 'label!', 'until'] as const;

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
      return json(200, [
        ...HOST_NETWORKS.filter((network) => matchesHost(filters, network)).map((network) =>
          hostNetworkToDocker(view, network, networks.bridgeAddrs(view)),
        ),
        ...all
          .filter((network) => matches(filters, view, network))
          .map((network) => networkToDocker(view, network)),
      ]);
    }),

    route('GET', '/networks/:id', async ({ params, query }) => {
      if (isTrue(query.get('verbose'))) throw invalid('verbose: is not supported yet; leave --verbose out');
      const scope = query.get('scope') ?? '';
      const { view, network } = await networks.inspect(params.id!, scope);
      const found =
        'driver' in network
          ? hostNetworkToDocker(view, network, networks.bridgeAddrs(view))
          : networkToDocker(view, network);
      return json(200, { ...found, Containers: membersOf(view, network.id) });
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

/** Docker never takes them for unused. */
function matchesHost(filters: Filters<(typeof FILTERS)[number]>, network: HostNetwork): boolean {
  const { name, id, driver } = network;
  return (
    filters.prefix('id', id) &&
    filters.any('name', (value) => name.includes(value)) &&
    filters.labels('label', {}) &&
    filters.exactly('driver', driver) &&
    filters.exactly('scope', 'local') &&
    filters.exactly('type', 'builtin') &&
    filters.any('dangling', (value) => value !== 'true' && value !== '1')
  );
}

const isUsed = (view: View, networkId: string): boolean =>
  [...view.services.all()].some((service) =>
    service.spec?.task?.networks.some((attachment) => attachment.networkId === networkId),
  );
