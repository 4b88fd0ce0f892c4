import { createHash } from 'node:crypto';
import type { View } from '../store/view.js';

/** A network that every host has for itself, as Docker predefines them. */
export interface HostNetwork {
  readonly name: 'bridge' | 'host' | 'none';
  /** The same in every cluster. */
  readonly id: string;
  readonly driver: 'bridge' | 'host' | 'null';
}

const hostNetwork = (name: HostNetwork['name'], driver: HostNetwork['driver']): HostNetwork => ({
  name,
  id: createHash('sha256').update(`network/${name}`).digest('hex'),
  driver,
});

export const HOST_NETWORKS: readonly HostNetwork[] = [
  hostNetwork('bridge', 'bridge'),
  hostNetwork('host', 'host'),
  hostNetwork('none', 'null'),
];

/** By name or id, or by a beginning of its id. */
export const findHostNetwork = (reference: string): HostNetwork | undefined =>
  HOST_NETWORKS.find(({ name, id }) => name === reference || id === reference) ??
  HOST_NETWORKS.find(({ id }) => reference !== '' && id.startsWith(reference));

export const isHostNetwork = (name: string): boolean =>
  HOST_NETWORKS.some((network) => network.name === name);

/** The id of a network that is a host's own; any other word as it is. */
export const hostNetworkId = (name: string): string =>
  HOST_NETWORKS.find((network) => network.name === name)?.id ?? name;

/** What containers of a network mode are on: `default` is the bridge. */
export const hostNetworkOfMode = (mode: string): HostNetwork | undefined =>
  findHostNetwork(mode === '' || mode === 'default' ? 'bridge' : mode);

/**
 * The addresses of the nodes' bridges with prefix length, each once: first that of `nodeId`, whose manager is asked. A
 * client in a container reaches a manager of its own host, so the first is the one by which it reaches that host.
 */
export function bridgeAddrs(view: View, nodeId: string): readonly string[] {
  const addrs = [nodeId, ...[...view.nodes.all()].map(({ id }) => id).sort()].map(
    (id) => view.nodeStatuses.get(id)?.description?.bridgeAddr ?? '',
  );
  return [...new Set(addrs)].filter((addr) => addr !== '');
}
