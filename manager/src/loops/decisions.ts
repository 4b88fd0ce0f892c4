import type { Store, Transaction } from '../store/view.js';

/**
 * What the leader's loops would decide of a container, for whoever in this manager has news of it. Decided in the
 * transaction that writes the news it takes one write, where each loop in turn would take one more; the loops then find
 * nothing left to do. Where this manager does not lead, or dies half way, they do it all.
 */
export interface LeaderDecisions {
  /** Fenced by the election key. */
  readonly store: Store;
  /**
   * Makes a container and, in the same transaction, gives it its addresses and its node.
   *
   * @param make puts the container with this id; may run again
   * @throws ClusterError `conflict` where it can have no place, and then nothing is written; what `make` throws
   */
  createPlaced<T>(containerId: string, make: (tx: Transaction) => T): Promise<T>;
  /** Deletes what has gone from its node. @returns whether that was so */
  reap(tx: Transaction, containerId: string): boolean;
}
