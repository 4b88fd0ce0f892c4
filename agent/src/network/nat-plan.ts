import { contains, formatIpv4, overlaps, parseSubnet, type Subnet } from './subnets.js';

/** Where the NAT bridge's subnet is looked for: private ranges that overlays (10/8) are not cut from. */
export const NAT_POOLS: readonly string[] = [
  ...Array.from({ length: 14 }, (_, index) => `172.${18 + index}.0.0/20`),
  ...Array.from({ length: 16 }, (_, index) => `192.168.${index * 16}.0/20`),
  ...Array.from({ length: 16 }, (_, index) => `100.${64 + index}.0.0/20`),
];

/**
 * The first pool that touches nothing in use; undefined when every one does.
 *
 * @param used CIDRs of the host's routes and addresses, of overlays, and of the host's resolvers
 */
export function chooseNatSubnet(used: readonly string[], pools = NAT_POOLS): Subnet | undefined {
  const taken = used.map(parseSubnet);
  return pools.map(parseSubnet).find((pool) => !taken.some((other) => overlaps(pool, other)));
}

/** The bridge's own address, by which containers leave: the subnet's first. */
export const natGateway = ({ base }: Subnet): string => formatIpv4(base + 1);

/** Hands out the addresses of the NAT bridge's subnet, going round, so that one is not soon used again. */
export class NatAddresses {
  readonly #owners = new Map<string, string>();
  #next = 2;

  constructor(readonly subnet: Subnet) {}

  /** The container's address; undefined when all are taken. May be repeated. */
  take(containerId: string): string | undefined {
    for (const [address, owner] of this.#owners) if (owner === containerId) return address;
    const size = 2 ** (32 - this.subnet.prefix);
    // Without the network's own, the bridge's and the broadcast address.
    for (let tried = 0; tried < size - 3; tried++) {
      const address = formatIpv4(this.subnet.base + this.#next);
      this.#next = this.#next + 1 >= size - 1 ? 2 : this.#next + 1;
      if (this.#owners.has(address)) continue;
      this.#owners.set(address, containerId);
      return address;
    }
    return undefined;
  }

  /** Notes an address that a container of an earlier life has. */
  claim(containerId: string, address: string): void {
    if (contains(this.subnet, address)) this.#owners.set(address, containerId);
  }

  release(containerId: string): void {
    for (const [address, owner] of this.#owners) if (owner === containerId) this.#owners.delete(address);
  }
}

/** Addresses on the bridge that may reach one another. */
export const OPEN_SET = 'open';

/** The host's table's name. */
export const natTableName = (bridge: string): string => `ip tessera-${bridge}`;

/**
 * The nft commands that make the host's table: containers' traffic leaves under the host's address, and nobody outside
 * opens connections, except to published ports. Translating makes the kernel track every connection of the host; overlays' packets are spared that.
 *
 * @param tunnels UDP ports of VXLAN
 */
export function natTable(bridge: string, subnet: string, tunnels: readonly number[]): string {
  const name = natTableName(bridge);
  return [
    `add table ${name}`,
    `delete table ${name}`,
    `add table ${name}`,
    `add chain ${name} leave { type nat hook postrouting priority srcnat; }`,
    `add rule ${name} leave ip saddr ${subnet} oifname != "${bridge}" masquerade`,
    `add set ${name} ${OPEN_SET} { type ipv4_addr; }`,
    `add chain ${name} pass { type filter hook forward priority filter; }`,
    `add rule ${name} pass oifname "${bridge}" ct state established,related accept`,
    `add rule ${name} pass oifname "${bridge}" ct status dnat accept`,
    // Where bridged frames pass these rules too; else the bridge itself connects them.
    `add rule ${name} pass iifname "${bridge}" ip saddr @${OPEN_SET} ip daddr @${OPEN_SET} accept`,
    `add rule ${name} pass oifname "${bridge}" drop`,
    ...['prerouting', 'output'].flatMap((hook) => [
      `add chain ${name} tunnels-${hook} { type filter hook ${hook} priority raw; }`,
      `add rule ${name} tunnels-${hook} udp dport { ${tunnels.join(', ')} } notrack`,
    ]),
  ].join('\n');
}

/** A chain of somebody else's that drops what it does not know. */
export interface DroppingChain {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
}

interface JsonChain extends DroppingChain {
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

/** Finds foreign forward chains that drop by policy. Source of the listing: `list chains`, libnftables-json(5). */
export function findDroppingChains(listing: readonly Record<string, unknown>[]): {
  readonly dropping: readonly DroppingChain[];
  /** Docker's chain for other people's rules exists, and is met before its own. */
  readonly hasDockerUser: boolean;
} {
  const chains = listing.flatMap((object) => ('chain' in object ? [object.chain as JsonChain] : []));
  return {
    dropping: chains
      .filter(({ family, hook, policy }) => hook === 'forward' && policy === 'drop' && family !== 'bridge')
      .filter(({ family }) => family === 'ip' || family === 'inet')
      .map(({ family, table, name }) => ({ family, table, chain: name })),
    hasDockerUser: chains.some(
      ({ family, table, name }) => family === 'ip' && table === 'filter' && name === 'DOCKER-USER',
    ),
  };
}

/** Rules that let the bridge's traffic through Docker's filter. */
export const dockerUserRules = (bridge: string): string =>
  [
    `insert rule ip filter DOCKER-USER iifname "${bridge}" counter accept`,
    `insert rule ip filter DOCKER-USER oifname "${bridge}" ct state established,related counter accept`,
  ].join('\n');
