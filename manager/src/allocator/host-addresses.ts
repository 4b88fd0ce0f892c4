import ipaddr from 'ipaddr.js';
import type { View } from '../store/view.js';
import { type Block, contains, formatAddress, formatBlock, parseAddress } from './ipv4.js';

/** An address that a node of the cluster is reached by. */
export interface HostAddress {
  readonly node: string;
  readonly address: number;
}

/**
 * What managers and other nodes reach the nodes by, those that are down too. A network must not hold any of these:
 * its containers would look for that host on the overlay. Addresses of IPv6 cannot lie in an overlay's subnet.
 */
export function hostAddresses(view: Pick<View, 'nodes' | 'nodeStatuses'>): HostAddress[] {
  const found: HostAddress[] = [];
  for (const { nodeId, addr, managerAddr, description } of view.nodeStatuses.all()) {
    const node = view.nodes.get(nodeId)?.name || description?.hostname || nodeId;
    const manager = managerAddr.slice(0, managerAddr.lastIndexOf(':'));
    for (const text of new Set([addr, description?.dataPathAddr ?? '', manager])) {
      if (!ipaddr.IPv4.isValidFourPartDecimal(text)) continue;
      found.push({ node, address: parseAddress(text, 'address') });
    }
  }
  return found;
}

/** Why a subnet cannot be a network's; undefined: it holds none of the addresses. */
export function hostOverlap(subnet: Block, hosts: readonly HostAddress[]): string | undefined {
  const hit = hosts.find(({ address }) => contains(subnet, address));
  if (!hit) return undefined;
  return `Pool overlaps with other one on this address space: ${formatBlock(subnet)} holds ${formatAddress(hit.address)}, the address of node ${hit.node}; choose another --subnet`;
}

export const hostBlock = ({ address }: HostAddress): Block => ({ base: address, prefix: 32 });
