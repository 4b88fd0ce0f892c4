import { ClusterError } from '@tessera/shared/errors';
import type { NetworkStatus } from '@tessera/shared/model';
import type { Transaction, View } from '../store/view.js';
import { type Block, formatAddress, lastOf, parseAddress, parseBlock } from './ipv4.js';
import { type AddressPool, isAssignable, parsePool } from './subnets.js';

export const ipClaim = (networkId: string, address: string): string => `ip/${networkId}/${address}`;

/** Where the search for a free address goes on, per network: after the last one handed out. */
export type Cursors = Map<string, number>;

/**
 * Hands out addresses within one transaction. What is taken is what has a claim in the store; the cursors are
 * only a hint, so that an address just given back is not given out again at once, while others may remember it.
 */
export class AddressBook {
  readonly #cursors: Cursors;
  readonly #pools = new Map<string, readonly AddressPool[]>();
  /** Why a network that was searched in vain has nothing: a hundred tasks may wait for the same one. */
  readonly #exhausted = new Map<string, ClusterError>();

  constructor(
    private readonly tx: Transaction,
    cursors: Cursors,
  ) {
    // The transaction may run again: what it decided the first time must leave no trace.
    this.#cursors = new Map(cursors);
  }

  /** What the cursors have become, to keep once the transaction has been committed. */
  get cursors(): Cursors {
    return this.#cursors;
  }

  /**
   * Claims a free address, with its prefix length: `10.0.1.5/24`.
   *
   * @throws ClusterError `resourceExhausted` when the network has none left, naming it
   */
  take(status: NetworkStatus, owner: string): string {
    const known = this.#exhausted.get(status.networkId);
    if (known) throw known;
    for (const pool of this.#poolsOf(status)) {
      const address = this.#findFree(status.networkId, pool);
      if (address === undefined) continue;
      const text = formatAddress(address);
      const claim = ipClaim(status.networkId, text);
      // Held by nothing that exists: left over by some fault, and nobody else will give it back.
      if (this.tx.claim(claim) !== undefined) this.tx.releaseClaim(claim);
      this.tx.takeClaim(claim, owner);
      this.#cursors.set(status.networkId, address + 1);
      return `${text}/${pool.subnet.prefix}`;
    }
    const error = this.#exhaustedError(status);
    this.#exhausted.set(status.networkId, error);
    throw error;
  }

  /** Gives back an address taken in this transaction. */
  giveBack(networkId: string, addr: string): void {
    this.tx.releaseClaim(ipClaim(networkId, addr.split('/')[0]!));
    this.#exhausted.delete(networkId);
  }

  #findFree(networkId: string, pool: AddressPool): number | undefined {
    const { range } = pool;
    const cursor = this.#cursors.get(networkId) ?? afterHighest(this.tx, networkId, range);
    const start = cursor >= range.base && cursor <= lastOf(range) ? cursor : range.base;
    return (
      this.#search(networkId, pool, start, lastOf(range)) ??
      this.#search(networkId, pool, range.base, start - 1)
    );
  }

  #search(networkId: string, pool: AddressPool, from: number, to: number): number | undefined {
    for (let address = from; address <= to; address++) {
      if (!isAssignable(pool, address)) continue;
      const owner = this.tx.claim(ipClaim(networkId, formatAddress(address)));
      if (owner === undefined || !ownerExists(this.tx, owner)) return address;
    }
    return undefined;
  }

  #poolsOf(status: NetworkStatus): readonly AddressPool[] {
    let pools = this.#pools.get(status.networkId);
    if (!pools) {
      pools = status.pools.map(parsePool);
      this.#pools.set(status.networkId, pools);
    }
    return pools;
  }

  /** Docker's words, with the network's name. */
  #exhaustedError(status: NetworkStatus): ClusterError {
    const name = this.tx.networks.get(status.networkId)?.spec?.name ?? status.networkId;
    const subnets = status.pools.map(({ subnet }) => subnet).join(', ');
    return new ClusterError(
      'resourceExhausted',
      `no available IPv4 addresses on this network's address pools: ${name} (${subnets})`,
    );
  }
}

/** @param owner as claims name it: `task/<id>` */
export function ownerExists(view: View, owner: string): boolean {
  const [kind, id = ''] = owner.split('/');
  switch (kind) {
    case 'task':
      return view.tasks.get(id) !== undefined;
    case 'container':
      return view.containers.get(id) !== undefined;
    case 'service':
      return view.services.get(id) !== undefined;
    case 'network':
      return view.networks.get(id) !== undefined;
    default:
      // Something newer than this manager took it.
      return true;
  }
}

/** A new leader goes on behind the highest address in use, rather than with the one given back last. */
function afterHighest(view: View, networkId: string, range: Block): number {
  let highest = range.base - 1;
  const see = (addr: string) => {
    const address = parseAddress(addr.split('/')[0]!, 'address');
    if (address > highest && address <= lastOf(range)) highest = address;
  };
  for (const task of view.tasks.all()) {
    for (const attachment of task.networks)
      if (attachment.networkId === networkId && attachment.addr) see(attachment.addr);
  }
  for (const { networks } of view.containerPlacements.all()) {
    for (const attachment of networks)
      if (attachment.networkId === networkId && attachment.addr) see(attachment.addr);
  }
  for (const { virtualIps } of view.serviceStatuses.all()) {
    for (const ip of virtualIps) if (ip.networkId === networkId) see(ip.addr);
  }
  return highest + 1;
}

/** `02:42:` and the four bytes of the address: as unique in its network as the address. */
export function macOf(addr: string): string {
  const address = parseAddress(addr.split('/')[0]!, 'address');
  const bytes = [address >>> 24, (address >>> 16) & 255, (address >>> 8) & 255, address & 255];
  return ['02', '42', ...bytes.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}

export const subnetOf = (pool: { readonly subnet: string }): Block => parseBlock(pool.subnet, 'subnet');
