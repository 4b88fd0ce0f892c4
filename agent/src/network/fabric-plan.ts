import type { Link, Neighbour, NetChange, Netns, PlacedChange, PortSwitches } from '@tessera/native';
import { bridgeName, vxlanName } from './names.js';

/** A container's port in the fabric. */
export interface FabricPort {
  readonly name: string;
  readonly mac: string;
  /** Without prefix length. */
  readonly address: string;
}

/** An endpoint on another host. */
export interface RemoteEndpoint {
  readonly mac: string;
  readonly address: string;
  /** Where VXLAN packets for it are sent. */
  readonly host: string;
}

/** One overlay network, as this host is to have it. */
export interface FabricNetwork {
  readonly networkId: string;
  readonly vni: number;
  /** UDP port of the VXLAN. */
  readonly port: number;
  /** This host's address on the data path. */
  readonly local: string;
  readonly mtu: number;
  readonly remotes: readonly RemoteEndpoint[];
  readonly ports: readonly FabricPort[];
}

/** What the fabric's namespace holds. */
export interface FabricState {
  readonly links: readonly Link[];
  readonly forwarding: readonly Neighbour[];
  readonly neighbours: readonly Neighbour[];
}

/** Nothing is learnt and nothing unknown goes out: forwarding is what the endpoints say. */
const VXLAN_PORT: Required<PortSwitches> = { learning: false, flood: false, isolated: false, locked: false };
/** A container speaks with its own MAC alone. */
export const CONTAINER_PORT: Required<PortSwitches> = { ...VXLAN_PORT, locked: true };

/** New namespaces pass bridged frames through iptables and give every device an IPv6 address. */
export const FABRIC_SYSCTLS: readonly NetChange[] = [
  'bridge/bridge-nf-call-iptables',
  'bridge/bridge-nf-call-ip6tables',
  'bridge/bridge-nf-call-arptables',
].map((path): NetChange => ({ kind: 'sysctl', path, value: '0', tolerant: true }));

export interface FabricPlaces {
  readonly fabric: Netns;
  readonly host: Netns;
}

/** The changes that bring one network to what it should be, in an order that the kernel accepts. */
export function planNetwork(
  network: FabricNetwork,
  state: FabricState,
  places: FabricPlaces,
): PlacedChange[] {
  const byName = new Map(state.links.map((link) => [link.name, link]));
  const inFabric = (change: NetChange): PlacedChange => ({ ...change, netns: places.fabric });
  const found = byName.get(bridgeName(network.networkId));
  const bridge = found?.kind === 'bridge' ? found : undefined;
  const vxlan = byName.get(vxlanName(network.networkId));
  const usable = vxlan && isSameTunnel(vxlan, network) ? vxlan : undefined;
  return [
    ...planBridge(network, bridge).map(inFabric),
    ...planVxlan(network, vxlan, usable, bridge, places),
    ...planPorts(network, byName, bridge).map(inFabric),
    ...planTunnelTable(network, usable, state.forwarding).map(inFabric),
    ...planNeighbours(network, usable, state.neighbours).map(inFabric),
    ...planBridgeTable(network, state, bridge, usable).map(inFabric),
  ];
}

/**
 * The devices that belong to nothing: of an earlier life, or something else under a name of ours.
 *
 * @param ports of the containers that are here, whatever networks they are on; undefined: ports are left alone, as
 *   until the containers of before have been adopted
 */
export function planLeftovers(
  desired: readonly FabricNetwork[],
  links: readonly Link[],
  ports: ReadonlySet<string> | undefined,
): (NetChange & { kind: 'link-delete' })[] {
  const wanted = new Set(['lo']);
  for (const network of desired) {
    wanted.add(bridgeName(network.networkId)).add(vxlanName(network.networkId));
  }
  const bridges = new Set(desired.map(({ networkId }) => bridgeName(networkId)));
  return links
    .filter(({ name, kind }) => {
      // The kernel puts some devices of its own into every namespace.
      if (kind !== 'bridge' && kind !== 'vxlan' && kind !== 'veth') return bridges.has(name);
      if (name.startsWith('tv-')) return ports !== undefined && !ports.has(name);
      if (!wanted.has(name)) return true;
      // Something else under our name.
      return bridges.has(name) && kind !== 'bridge';
    })
    .map(({ name }) => ({ kind: 'link-delete', name, tolerant: true }));
}

const isSameTunnel = (link: Link, network: FabricNetwork): boolean =>
  link.vxlan?.vni === network.vni && link.vxlan.port === network.port && link.vxlan.local === network.local;

function planBridge(network: FabricNetwork, bridge: Link | undefined): NetChange[] {
  const name = bridgeName(network.networkId);
  if (!bridge) return [{ kind: 'bridge', name, mtu: network.mtu }];
  const changes: NetChange[] = [];
  if (bridge.mtu !== network.mtu) changes.push({ kind: 'link', name, mtu: network.mtu });
  if (!bridge.up) changes.push({ kind: 'link', name, up: true });
  return changes;
}

function planVxlan(
  network: FabricNetwork,
  present: Link | undefined,
  usable: Link | undefined,
  bridge: Link | undefined,
  places: FabricPlaces,
): PlacedChange[] {
  const name = vxlanName(network.networkId);
  const inFabric = (change: NetChange): PlacedChange => ({ ...change, netns: places.fabric });
  if (!usable) {
    return [
      ...(present ? [inFabric({ kind: 'link-delete', name, tolerant: true })] : []),
      {
        kind: 'vxlan',
        name,
        vni: network.vni,
        local: network.local,
        port: network.port,
        mtu: network.mtu,
        into: places.fabric,
        netns: places.host,
      },
      inFabric({ kind: 'link', name, master: bridgeName(network.networkId), up: true }),
      inFabric({ kind: 'port', name, ...VXLAN_PORT }),
    ];
  }
  return planMember(network, usable, bridge, VXLAN_PORT).map(inFabric);
}

function planPorts(
  network: FabricNetwork,
  byName: ReadonlyMap<string, Link>,
  bridge: Link | undefined,
): NetChange[] {
  return network.ports.flatMap(({ name }) => {
    const link = byName.get(name);
    // A lost link is made anew with its container's end; see ContainerKernel.
    return link ? planMember(network, link, bridge, CONTAINER_PORT) : [];
  });
}

/** A port that exists: in its bridge, up, with the right switches. */
function planMember(
  network: FabricNetwork,
  link: Link,
  bridge: Link | undefined,
  switches: Required<PortSwitches>,
): NetChange[] {
  const { name } = link;
  const isMember = bridge !== undefined && link.master === bridge.index;
  const changes: NetChange[] = [];
  if (!isMember) changes.push({ kind: 'link', name, master: bridgeName(network.networkId) });
  if (link.mtu !== network.mtu) changes.push({ kind: 'link', name, mtu: network.mtu });
  if (!link.up) changes.push({ kind: 'link', name, up: true });
  if (!isMember || !sameSwitches(link.port, switches)) changes.push({ kind: 'port', name, ...switches });
  return changes;
}

const sameSwitches = (has: PortSwitches | undefined, wanted: Required<PortSwitches>): boolean =>
  has !== undefined &&
  has.learning === wanted.learning &&
  has.flood === wanted.flood &&
  has.isolated === wanted.isolated &&
  has.locked === wanted.locked;

/** MAC → host, in the VXLAN device's own table. */
function planTunnelTable(
  network: FabricNetwork,
  vxlan: Link | undefined,
  forwarding: readonly Neighbour[],
): NetChange[] {
  const name = vxlanName(network.networkId);
  const wanted = new Map(network.remotes.map(({ mac, host }) => [mac.toLowerCase(), host]));
  const present = new Set<string>();
  const changes: NetChange[] = [];
  for (const { index, mac, address, ofBridge } of forwarding) {
    if (index !== vxlan?.index || ofBridge || mac === undefined || address === undefined) continue;
    if (wanted.get(mac) === address) present.add(mac);
    // Before the additions: one MAC with two hosts would have its frames copied to both.
    else changes.push({ kind: 'fdb-delete', name, mac, to: address, tolerant: true });
  }
  for (const [mac, to] of wanted) {
    if (!present.has(mac)) changes.push({ kind: 'fdb', name, mac, to });
  }
  return changes;
}

/** Address → MAC on the VXLAN device, which answers ARP from them. */
function planNeighbours(
  network: FabricNetwork,
  vxlan: Link | undefined,
  neighbours: readonly Neighbour[],
): NetChange[] {
  const name = vxlanName(network.networkId);
  const wanted = new Map(network.remotes.map(({ mac, address }) => [address, mac.toLowerCase()]));
  const present = new Set<string>();
  const changes: NetChange[] = [];
  for (const { index, mac, address, isStatic } of neighbours) {
    if (index !== vxlan?.index || address === undefined) continue;
    if (isStatic && wanted.get(address) === mac) present.add(address);
    else if (!wanted.has(address)) changes.push({ kind: 'neighbour-delete', name, address, tolerant: true });
  }
  for (const [address, mac] of wanted) {
    if (!present.has(address)) changes.push({ kind: 'neighbour', name, address, mac });
  }
  return changes;
}

/** MAC → port, in the bridge's table. Locked ports pass only frames that it knows at them. */
function planBridgeTable(
  network: FabricNetwork,
  { links, forwarding }: FabricState,
  bridge: Link | undefined,
  vxlan: Link | undefined,
): NetChange[] {
  const names = new Map(links.map(({ index, name }) => [index, name]));
  const wanted = new Map<string, string>();
  for (const { mac } of network.remotes) wanted.set(mac.toLowerCase(), vxlanName(network.networkId));
  for (const { mac, name } of network.ports) {
    // Missing links get their entry together with the link.
    if (links.some((link) => link.name === name)) wanted.set(mac.toLowerCase(), name);
  }

  const ours = new Set([vxlanName(network.networkId), ...network.ports.map(({ name }) => name)]);
  const members = new Set(
    links.filter(({ master }) => bridge && master === bridge.index).map((l) => l.index),
  );
  const present = new Set<string>();
  const changes: NetChange[] = [];
  for (const { index, mac, isStatic, ofBridge } of forwarding) {
    if (!ofBridge || !isStatic || mac === undefined || !members.has(index)) continue;
    const name = names.get(index);
    // With a device that is made anew, its entries go.
    if (name === undefined || (name === vxlanName(network.networkId) && !vxlan)) continue;
    if (wanted.get(mac) === name) present.add(mac);
    // A port that nobody claims keeps its entry, which goes with it: its container may not have been adopted yet.
    else if (!wanted.has(mac) && ours.has(name))
      changes.push({ kind: 'fdb-delete', name, mac, tolerant: true });
  }
  for (const [mac, name] of wanted) {
    if (!present.has(mac)) changes.push({ kind: 'fdb', name, mac });
  }
  return changes;
}
