import type { Endpoint, NetworkAssignment } from '@tessera/shared/wire';
import type { OverlaySpec, VirtualAddresses } from './kernel-types.js';
import type { DesiredNetworks } from './network-plane.js';
import { splitAddress } from './subnets.js';

/** IANA's port for VXLAN, and Swarm's. */
export const DEFAULT_VXLAN_PORT = 4789;

/** Whether it is ours to make, and allocated. */
export const isOverlay = ({ network, status }: NetworkAssignment): boolean =>
  network !== undefined && ['overlay', ''].includes(network.spec?.driver ?? '') && (status?.vni ?? 0) > 0;

/** The overlays that a node is to have, with the endpoints it reaches through the VXLAN. */
export function overlaysOf({ networks, endpoints }: DesiredNetworks, nodeId: string): OverlaySpec[] {
  const byNetwork = new Map<string, Endpoint[]>();
  for (const endpoint of endpoints) {
    if (endpoint.nodeId === nodeId || endpoint.nodeAddr === '' || endpoint.addr === '' || endpoint.mac === '')
      continue;
    const known = byNetwork.get(endpoint.networkId);
    if (known) known.push(endpoint);
    else byNetwork.set(endpoint.networkId, [endpoint]);
  }
  return networks.filter(isOverlay).map(({ network, status, dataPathPort }) => ({
    networkId: network?.id ?? '',
    vni: status?.vni ?? 0,
    port: dataPathPort || DEFAULT_VXLAN_PORT,
    mtu: status?.mtu ?? 0,
    subnets: (status?.pools ?? []).map(({ subnet }) => subnet).filter((subnet) => subnet !== ''),
    remotes: (byNetwork.get(network?.id ?? '') ?? []).map(({ addr, mac, nodeAddr }) => ({
      address: splitAddress(addr).address,
      mac,
      host: nodeAddr,
    })),
  }));
}

/** The virtual addresses that a container on these networks balances, and among whom. In a stable order. */
export function virtualsOf(
  { virtualServices, endpoints }: DesiredNetworks,
  networkIds: readonly string[],
): VirtualAddresses {
  const balanced = virtualServices.filter(
    ({ mode, addr, networkId }) => mode === 'vip' && addr !== '' && networkIds.includes(networkId),
  );
  const found = new Map(
    balanced.map(({ serviceId, networkId, addr }) => [
      `${serviceId}/${networkId}`,
      { vip: splitAddress(addr).address, backends: [] as string[], others: [] as string[] },
    ]),
  );
  for (const { serviceId, networkId, addr, state } of endpoints) {
    const virtual = found.get(`${serviceId}/${networkId}`);
    if (!virtual || addr === '') continue;
    (state === 'ready' ? virtual.backends : virtual.others).push(splitAddress(addr).address);
  }
  for (const { backends } of found.values()) backends.sort();
  return [...found.values()];
}

/** Addresses that had an endpoint before and have none, or another one, now: their connections lead nowhere. */
export function goneAddresses(before: DesiredNetworks, after: DesiredNetworks): Map<string, string[]> {
  const keyOf = ({ networkId, addr, taskId }: Endpoint) => `${networkId} ${addr} ${taskId}`;
  const still = new Set(after.endpoints.map(keyOf));
  const gone = new Map<string, string[]>();
  for (const endpoint of before.endpoints) {
    if (endpoint.addr === '' || still.has(keyOf(endpoint))) continue;
    const addresses = gone.get(endpoint.networkId) ?? [];
    addresses.push(splitAddress(endpoint.addr).address);
    gone.set(endpoint.networkId, addresses);
  }
  return gone;
}
