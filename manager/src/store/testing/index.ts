import { type Clock, silentLogger } from '@tessera/shared/env';
import { SeededRandom } from '@tessera/shared/testing';
import { type KvFaults, MemoryKv } from '../kv/memory-kv.js';
import { ClusterStore, type StoreOptions } from '../store.js';

/** A store over a MemoryKv that can be reached, to inject faults or to connect a second manager. */
export class MemoryStore extends ClusterStore {
  constructor(
    override readonly kv: MemoryKv,
    options: StoreOptions,
  ) {
    super(kv, options);
  }
}

export interface MemoryStoreOptions extends Partial<StoreOptions> {
  /** Another manager's store, whose data this one shares. */
  readonly beside?: MemoryStore;
  /** A connection of one's own to it. */
  readonly kv?: MemoryKv;
  readonly faults?: KvFaults;
  readonly seed?: number;
}

/** Long enough that no test under a fake clock outlives it: sessions stay until their lease is revoked. */
const LEASE_MS = 10 * 365 * 24 * 3_600_000;

/** An open store in memory, for tests. All of it happens in promise jobs and on `clock`. */
export async function openMemoryStore(clock: Clock, options: MemoryStoreOptions = {}): Promise<MemoryStore> {
  const { beside, faults, seed = 1, managerId = 'manager-1', ...rest } = options;
  const kv = options.kv ?? (beside ? beside.kv.connect(faults) : new MemoryKv(clock, faults));
  const lease = rest.lease ?? (await testLease(kv));
  const store = new MemoryStore(kv, {
    clock,
    random: new SeededRandom(seed, `store ${managerId}`),
    logger: silentLogger,
    managerId,
    ...rest,
    lease,
  });
  await store.start();
  return store;
}

async function testLease(kv: MemoryKv): Promise<() => string> {
  const { id } = await kv.grantLease(LEASE_MS);
  return () => id;
}

export { MemoryEngine } from '../kv/memory-engine.js';
export { MemoryKv } from '../kv/memory-kv.js';
