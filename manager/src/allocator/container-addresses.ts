import { ClusterError } from '@tessera/shared/errors';
import type { Container, NetworkAttachment } from '@tessera/shared/model';
import { containerOwner, needsAddresses, placementOf } from '../loops/containers.js';
import type { Transaction } from '../store/view.js';
import { type AddressBook, macOf } from './address-book.js';
import { isAllocated, isClusterNetwork } from './network-allocator.js';

/** What became of one container's addresses. */
export type ContainerOutcome = 'nothing to do' | 'written' | 'waiting';

/**
 * Gives a container its place on each of its cluster networks, all or none; or writes why it cannot have them, which
 * is the answer its user waits for. A network that has merely not been allocated yet is waited for.
 */
export function allocateContainer(tx: Transaction, containerId: string, book: AddressBook): ContainerOutcome {
  const container = tx.containers.get(containerId);
  if (!container || !needsAddresses(container, tx.containerPlacements.get(containerId)))
    return 'nothing to do';
  const networks: NetworkAttachment[] = [];
  const refusal = attach(tx, container, book, networks);
  if (refusal !== undefined)
    for (const { networkId, addr } of networks) if (addr) book.giveBack(networkId, addr);
  if (refusal === '') return 'waiting';

  tx.require('containers', containerId);
  tx.put('containerPlacements', {
    ...placementOf(tx, containerId),
    ...(refusal === undefined ? { networks } : { pendingReason: refusal }),
  });
  return 'written';
}

/** @returns why not; empty while it is only a matter of waiting */
function attach(
  tx: Transaction,
  container: Container,
  book: AddressBook,
  networks: NetworkAttachment[],
): string | undefined {
  for (const { networkId, aliases } of container.networks) {
    const network = tx.networks.get(networkId);
    if (!network || network.removing) return `network ${network?.spec?.name ?? networkId} not found`;
    const status = tx.networkStatuses.get(networkId);
    if (!status || !isAllocated(status)) return status?.error ?? '';
    // A network whose removal begins meanwhile must not be given containers.
    tx.require('networks', networkId);
    if (!isClusterNetwork(network)) {
      networks.push({ networkId, addr: '', mac: '', aliases });
      continue;
    }
    try {
      const addr = book.take(status, containerOwner(container.id));
      networks.push({ networkId, addr, mac: macOf(addr), aliases });
    } catch (error) {
      if (error instanceof ClusterError && error.kind === 'resourceExhausted') return error.message;
      throw error;
    }
  }
  return undefined;
}
