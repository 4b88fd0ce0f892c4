import { ClusterError, invalid } from '@tessera/shared/errors';
import type { IpamPool } from '@tessera/shared/model';
import {
  type Block,
  contains,
  formatAddress,
  formatBlock,
  lastOf,
  overlap,
  parseAddress,
  parseBlock,
  sizeOf,
} from './ipv4.js';

/** Where subnets come from that the user did not choose: Swarm's defaults. */
export const POOLS_DEFAULT: readonly string[] = ['10.0.0.0/8'];
export const SUBNET_SIZE_DEFAULT = 24;

/** Room for the network's own address, its gateway, one task and the broadcast address. */
const PREFIX_MAX = 30;

/**
 * The subnet for a network that did not ask for one: the first block of the pools that overlaps nothing.
 * A pool's very first block is left for last, since Swarm's users expect networks from the second one on.
 *
 * @throws ClusterError `resourceExhausted` naming the pools
 */
export function chooseSubnet(pools: readonly string[], prefix: number, taken: readonly Block[]): Block {
  const parsed = pools.map((pool) => parseBlock(pool, 'default address pool'));
  const free = firstFree(parsed, prefix, taken, 1) ?? firstFree(parsed, prefix, taken, 0);
  if (free) return free;
  throw new ClusterError(
    'resourceExhausted',
    `could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network (${pools.join(', ')} in subnets of /${prefix})`,
  );
}

function firstFree(
  pools: readonly Block[],
  prefix: number,
  taken: readonly Block[],
  firstIndex: number,
): Block | undefined {
  const size = 2 ** (32 - prefix);
  for (const pool of pools) {
    if (prefix < pool.prefix) continue;
    let base = pool.base + firstIndex * size;
    while (base + size - 1 <= lastOf(pool)) {
      const hit = taken.find((other) => overlap({ base, prefix }, other));
      if (!hit) return { base, prefix };
      // On to the first aligned block behind what is in the way: a pool may hold millions.
      base = Math.max(base + size, Math.ceil((lastOf(hit) + 1) / size) * size);
    }
  }
  return undefined;
}

/** A network's addresses: which may be handed out, and which never. */
export interface AddressPool {
  readonly subnet: Block;
  readonly gateway: number;
  /** The part that addresses are handed out from. */
  readonly range: Block;
}

/**
 * Checks a pool that the user asked for; the gateway is the subnet's first address unless given.
 *
 * @throws ClusterError `invalidArgument` naming the field
 */
export function parsePool(pool: IpamPool): AddressPool {
  const subnet = parseBlock(pool.subnet, 'subnet');
  if (subnet.prefix > PREFIX_MAX) {
    throw invalid(`subnet "${pool.subnet}" is too small: /${PREFIX_MAX} is the smallest that holds a task`);
  }
  const gateway = pool.gateway ? parseAddress(pool.gateway, 'gateway') : subnet.base + 1;
  if (!contains(subnet, gateway)) {
    throw invalid(`no matching subnet for gateway ${pool.gateway}: it lies outside ${pool.subnet}`);
  }
  const range = pool.ipRange ? parseBlock(pool.ipRange, 'ip-range') : subnet;
  if (!contains(subnet, range.base) || !contains(subnet, lastOf(range))) {
    throw invalid(`no matching subnet for range ${pool.ipRange}: it lies outside ${pool.subnet}`);
  }
  return { subnet, gateway, range };
}

export function toIpamPool({ subnet, gateway, range }: AddressPool): IpamPool {
  return {
    subnet: formatBlock(subnet),
    gateway: formatAddress(gateway),
    ipRange: range.base === subnet.base && sizeOf(range) === sizeOf(subnet) ? '' : formatBlock(range),
  };
}

/** Whether an address of the pool's range may be given to a task or a service. */
export function isAssignable({ subnet, gateway }: AddressPool, address: number): boolean {
  return address !== subnet.base && address !== lastOf(subnet) && address !== gateway;
}
