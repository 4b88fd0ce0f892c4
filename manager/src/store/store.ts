import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Cache } from './cache.js';
import { Feed } from './feed.js';
import { ROOT } from './kinds.js';
import type { Kv, LeaseId } from './kv/kv.js';
import { Reader } from './reader.js';
import type { Change, Store, Transaction, View } from './view.js';
import { type Fence, Writer } from './writer.js';

/** How long an update or a read waits for etcd: longer than a leader election of etcd's, shorter than a user. */
const PATIENCE_MS = 15_000;

export interface StoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Names this manager's own keys in the store. No two live managers share it. */
  readonly managerId: string;
  /** The lease that session keys die with, while this manager holds one. */
  readonly lease?: () => LeaseId | undefined;
  readonly patienceMs?: number;
}

/**
 * Lists the cluster's state and follows it from then on.
 *
 * @throws ClusterError `unavailable` when the list cannot be had; call again
 */
export async function createStore(kv: Kv, options: StoreOptions): Promise<ClusterStore> {
  const store = new ClusterStore(kv, options);
  try {
    await store.start();
  } catch (error) {
    store.close();
    throw error;
  }
  return store;
}

/** The cluster's state over a key-value port. Made by `createStore`; `close` ends its watch and its updates. */
export class ClusterStore implements Store {
  readonly #closing = new AbortController();
  readonly #cache: Cache;
  readonly #feed: Feed;
  readonly #reader: Reader;
  readonly #writer: Writer;

  constructor(
    readonly kv: Kv,
    private readonly options: StoreOptions,
  ) {
    const { clock, managerId, patienceMs = PATIENCE_MS } = options;
    const logger = options.logger.child({ module: 'store' });
    const { signal } = this.#closing;
    this.#cache = new Cache((error) => logger.error({ error }, 'a subscriber to the store failed'));
    const nudgeKey = `${ROOT}writers/${managerId}/nudge`;
    this.#feed = new Feed({ kv, cache: this.#cache, clock, logger, nudgeKey, signal });
    this.#reader = new Reader(kv, this.#feed, clock, patienceMs, signal);
    this.#writer = this.#newWriter(`${managerId}/api`);
  }

  get clock(): Clock {
    return this.options.clock;
  }

  start(): Promise<void> {
    return this.#feed.start();
  }

  view(): View {
    return this.#cache;
  }

  async read(signal?: AbortSignal): Promise<View> {
    await this.#reader.fresh(signal);
    return this.#cache;
  }

  update<T>(body: (tx: Transaction) => T): Promise<T> {
    return this.#writer.update(body);
  }

  subscribe(handler: (changes: readonly Change[], view: View) => void): () => void {
    return this.#cache.subscribe(handler);
  }

  /** This store for the loops of a leader: its updates hold only while the election key is the one it won. */
  fenced(fence: Fence): Store {
    const writer = this.#newWriter(`${this.options.managerId}/leader`, fence);
    return {
      view: () => this.view(),
      read: (signal) => this.read(signal),
      update: (body) => writer.update(body),
      subscribe: (handler) => this.subscribe(handler),
    };
  }

  /** Ends the watch; updates and reads under way are refused. The key-value port stays open. */
  close(): void {
    this.#closing.abort(new ClusterError('unavailable', 'the store is closed'));
  }

  #newWriter(name: string, fence?: Fence): Writer {
    const { clock, random, logger, lease, patienceMs = PATIENCE_MS } = this.options;
    return new Writer({
      kv: this.kv,
      cache: this.#cache,
      feed: this.#feed,
      clock,
      random,
      logger: logger.child({ module: 'store', writer: name }),
      name,
      ...(fence && { fence }),
      sessionLease: () => {
        const id = lease?.();
        if (!id) throw new ClusterError('unavailable', 'this manager has no lease in the store yet');
        return id;
      },
      patienceMs,
      signal: this.#closing.signal,
    });
  }
}
