import { NAT_BRIDGE, type NetworkContainerJson, type NetworkJson } from '@tessera/shared/docker-api';
import { type IpamPool, type Network, observedState } from '@tessera/shared/model';
import { formatBlock, parseAddress } from '../../allocator/ipv4.js';
import { isRunning } from '../../controlapi/containers/index.js';
import { type HostNetwork, hostNetworkOfMode, taskName } from '../../controlapi/index.js';
import type { View } from '../../store/view.js';
import { omitEmpty, timeJson } from './json-edge.js';

/** Docker's name for IPAM within this engine. */
export const IPAM_DRIVER = 'default';

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

/** @param bridgeAddrs of every node, that of the manager asked first */
export function hostNetworkToDocker(
  view: View,
  { name, id, driver }: HostNetwork,
  bridgeAddrs: readonly string[],
): NetworkJson {
  const isBridge = driver === 'bridge';
  return {
    Name: name,
    Id: id,
    Created: timeJson(view.cluster?.meta?.createdAtMs ?? 0),
    Scope: 'local',
    Driver: driver,
    EnableIPv4: true,
    EnableIPv6: false,
    IPAM: { Driver: IPAM_DRIVER, Options: null, Config: isBridge ? bridgeAddrs.map(bridgePool) : [] },
    Internal: false,
    Attachable: false,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: {},
    Options: isBridge ? BRIDGE_OPTIONS : {},
    Labels: {},
  };
}

/** What each host's bridge does, in the words of Docker's. */
const BRIDGE_OPTIONS = {
  'com.docker.network.bridge.default_bridge': 'true',
  'com.docker.network.bridge.enable_icc': 'true',
  'com.docker.network.bridge.enable_ip_masquerade': 'true',
  'com.docker.network.bridge.host_binding_ipv4': '0.0.0.0',
  'com.docker.network.bridge.name': NAT_BRIDGE,
};

/** @param addr the bridge's own, with prefix length */
function bridgePool(addr: string): { readonly Subnet: string; readonly Gateway: string } {
  const [gateway = '', length = '32'] = addr.split('/');
  const prefix = Number(length);
  const base = Math.floor(parseAddress(gateway, 'bridge') / 2 ** (32 - prefix)) * 2 ** (32 - prefix);
  return { Subnet: formatBlock({ base, prefix }), Gateway: gateway };
}

/** Whoever runs on the network, on whichever node: Docker shows those of one host only. */
export function membersOf(view: View, networkId: string): Record<string, NetworkContainerJson> {
  return Object.fromEntries([...taskMembers(view, networkId), ...containerMembers(view, networkId)]);
}

type Member = readonly [containerId: string, NetworkContainerJson];

function* taskMembers(view: View, networkId: string): Generator<Member> {
  for (const task of view.tasks.all()) {
    const attachment = task.networks.find((candidate) => candidate.networkId === networkId);
    const status = view.taskStatuses.get(task.id);
    if (!attachment || !status?.container || observedState(task, status) !== 'running') continue;
    yield [status.container.containerId, member(`${taskName(task)}.${task.id}`, task.id, attachment)];
  }
}

function* containerMembers(view: View, networkId: string): Generator<Member> {
  for (const { id, name, host, networks } of view.containers.all()) {
    const state = view.containerStates.get(id);
    if (!state || !isRunning(state)) continue;
    const local = networks.length === 0 ? hostNetworkOfMode(host?.networkMode ?? '') : undefined;
    const attachment =
      local?.id === networkId
        ? (state.localNetworks.find((candidate) => candidate.networkId === local.name) ?? NO_ADDRESS)
        : view.containerPlacements.get(id)?.networks.find((candidate) => candidate.networkId === networkId);
    if (attachment) yield [id, member(name, id, attachment)];
  }
}

const NO_ADDRESS = { addr: '', mac: '' };

const member = (
  name: string,
  endpointId: string,
  { addr, mac }: { readonly addr: string; readonly mac: string },
): NetworkContainerJson => ({
  Name: name,
  EndpointID: endpointId,
  MacAddress: mac,
  IPv4Address: addr,
  IPv6Address: '',
});
