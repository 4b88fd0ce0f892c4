import { ClusterError } from '@tessera/shared/errors';
import { type Network, NetworkStatus } from '@tessera/shared/model';
import type { Transaction } from '../store/view.js';
import { subnetOf } from './address-book.js';
import { hostAddresses, hostBlock, hostOverlap } from './host-addresses.js';
import { type Block, formatBlock, overlap } from './ipv4.js';
import {
  type AddressPool,
  chooseSubnet,
  POOLS_DEFAULT,
  parsePool,
  SUBNET_SIZE_DEFAULT,
  toIpamPool,
} from './subnets.js';

/** Swarm's first one; those below are left to whoever configures VXLAN by hand. */
const VNI_MIN = 4_097;
const VNI_MAX = 2 ** 24 - 1;
/** Ethernet's 1,500 less the outer headers of VXLAN over IPv4. */
const OVERLAY_MTU = 1_450;
const MTU_OPTION = 'com.docker.network.driver.mtu';

export const vniClaim = (vni: number): string => `vni/${vni}`;
export const subnetClaim = (pool: { readonly subnet: string }): string =>
  `subnet/${pool.subnet.split('/')[0]}`;

/** Whether tasks get addresses of the cluster on it. Bridge, host and none are each host's own affair. */
export const isClusterNetwork = (network: Network): boolean =>
  (network.spec?.driver || 'overlay') === 'overlay';

export const isAllocated = (status: NetworkStatus | undefined): boolean => status?.error === '';

/**
 * Gives a network its VNI and subnets, or its status the reason why not. Writes nothing when it has them.
 *
 * @returns whether it wrote anything
 */
export function allocateNetwork(tx: Transaction, network: Network): boolean {
  const before = tx.networkStatuses.get(network.id);
  if (isAllocated(before) || network.removing) return false;

  const status = decide(tx, network);
  if (before?.error === status.error && status.error !== '') return false;
  tx.require('networks', network.id);
  tx.put('networkStatuses', status);
  return true;
}

function decide(tx: Transaction, network: Network): NetworkStatus {
  if (!isClusterNetwork(network)) return NetworkStatus.fromPartial({ networkId: network.id });
  try {
    const owner = `network/${network.id}`;
    const pools = choosePools(tx, network).map(toIpamPool);
    const vni = chooseVni(tx);
    tx.takeClaim(vniClaim(vni), owner);
    for (const pool of pools) tx.takeClaim(subnetClaim(pool), owner);
    return NetworkStatus.fromPartial({ networkId: network.id, vni, pools, mtu: mtuOf(network) });
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    return NetworkStatus.fromPartial({ networkId: network.id, error: error.message });
  }
}

function choosePools(tx: Transaction, network: Network): AddressPool[] {
  const taken = takenSubnets(tx, network.id);
  const hosts = hostAddresses(tx);
  const wanted = (network.spec?.ipam ?? []).filter(({ subnet }) => subnet !== '').map(parsePool);
  for (const [index, pool] of wanted.entries()) {
    const others = [...taken, ...wanted.slice(0, index).map(({ subnet }) => ({ name: 'itself', subnet }))];
    const hit = others.find(({ subnet }) => overlap(subnet, pool.subnet));
    if (hit) throw overlapError(pool.subnet, hit);
    const host = hostOverlap(pool.subnet, hosts);
    if (host) throw new ClusterError('conflict', host);
  }
  if (wanted.length > 0) return wanted;

  const spec = tx.cluster?.spec;
  const pools = spec && spec.defaultAddrPools.length > 0 ? spec.defaultAddrPools : POOLS_DEFAULT;
  const prefix = spec?.subnetSize || SUBNET_SIZE_DEFAULT;
  const subnet = chooseSubnet(pools, prefix, [
    ...taken.map((other) => other.subnet),
    ...hosts.map(hostBlock),
  ]);
  return [parsePool({ subnet: formatBlock(subnet), gateway: '', ipRange: '' })];
}

interface TakenSubnet {
  readonly name: string;
  readonly subnet: Block;
}

function takenSubnets(tx: Transaction, exceptId: string): TakenSubnet[] {
  const taken: TakenSubnet[] = [];
  for (const status of tx.networkStatuses.all()) {
    if (status.networkId === exceptId) continue;
    const name = tx.networks.get(status.networkId)?.spec?.name ?? status.networkId;
    for (const pool of status.pools) taken.push({ name, subnet: subnetOf(pool) });
  }
  return taken;
}

function overlapError(subnet: Block, other: TakenSubnet): ClusterError {
  const message = `Pool overlaps with other one on this address space: ${formatBlock(subnet)} and ${formatBlock(other.subnet)} of network ${other.name}; choose another --subnet`;
  return new ClusterError('conflict', message);
}

/** Behind the highest one in use, so that hosts which still tear a network down do not meet its number again. */
function chooseVni(tx: Transaction): number {
  let highest = VNI_MIN - 1;
  for (const { vni } of tx.networkStatuses.all()) highest = Math.max(highest, vni);
  for (let vni = highest + 1; vni <= VNI_MAX; vni++) if (tx.claim(vniClaim(vni)) === undefined) return vni;
  for (let vni = VNI_MIN; vni <= highest; vni++) if (tx.claim(vniClaim(vni)) === undefined) return vni;
  throw new ClusterError('resourceExhausted', 'every VXLAN number is in use');
}

function mtuOf(network: Network): number {
  const asked = Number(network.spec?.options[MTU_OPTION]);
  return Number.isInteger(asked) && asked >= 68 ? Math.min(asked, OVERLAY_MTU) : OVERLAY_MTU;
}
