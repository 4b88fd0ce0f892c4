import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Etcd3 } from 'etcd3';
import { connectEtcd, type EtcdOptions, fromEtcdError } from './etcd-client.js';
import { fromKv, fromTxn, toRange, toTxn } from './etcd-messages.js';
import { EtcdWatch, endStream } from './etcd-watch.js';
import type {
  Kv,
  KvStatus,
  LeaseId,
  RangeRequest,
  RangeResult,
  Txn,
  TxnResult,
  Watch,
  WatchHandler,
} from './kv.js';

const KEEP_ALIVE_TIMEOUT_MS = 5_000;
/** At about 100 MB a second, enough for the largest database that etcd recommends. */
const DEFRAGMENT_TIMEOUT_MS = 120_000;
const LEASE_IDS = 2 ** 52;

/** The key-value port over etcd's gRPC services. */
export class EtcdKv implements Kv {
  readonly #etcd: Etcd3;
  readonly #watches = new Set<Watch>();

  constructor(
    private readonly env: { readonly clock: Clock; readonly random: Random; readonly logger: Logger },
    options: EtcdOptions,
  ) {
    this.#etcd = connectEtcd(env.clock, options);
  }

  async range(request: RangeRequest): Promise<RangeResult> {
    const { header, kvs, more } = await told('read', this.#etcd.kv.range(toRange(request)));
    return { revision: Number(header.revision), kvs: kvs.map(fromKv), more };
  }

  async txn(txn: Txn): Promise<TxnResult> {
    const response = await told('commit', this.#etcd.kv.txn(toTxn(txn)));
    return fromTxn(response, txn, Number(response.header.revision));
  }

  watch(prefix: string, fromRevision: number, handler: WatchHandler): Watch {
    const { clock, logger } = this.env;
    const watch = new EtcdWatch(this.#etcd, clock, logger, prefix, fromRevision, handler);
    this.#watches.add(watch);
    return {
      close: () => {
        watch.close();
        this.#watches.delete(watch);
      },
      restart: () => watch.restart(),
    };
  }

  async grantLease(ttlMs: number): Promise<{ id: LeaseId; ttlMs: number }> {
    // An id of our own: etcd's have 64 bits, and a client without a type for those rounds them.
    const id = String(1 + Math.floor(this.env.random.next() * LEASE_IDS));
    const request = { ID: id, TTL: Math.ceil(ttlMs / 1000) };
    const { TTL } = await told('grant a lease', this.#etcd.leaseClient.leaseGrant(request));
    return { id, ttlMs: Number(TTL) * 1000 };
  }

  /** A stream for one beat: at one every few seconds that costs nothing, and no state is left to mend. */
  async keepAlive(lease: LeaseId): Promise<{ ttlMs: number }> {
    const stream = await told('keep a lease', this.#etcd.leaseClient.leaseKeepAlive());
    const beat = new Promise<{ ttlMs: number }>((resolve, reject) => {
      const late = () => reject(new ClusterError('unavailable', `keep lease ${lease}: no answer`));
      const cancel = this.env.clock.after(KEEP_ALIVE_TIMEOUT_MS, late);
      const settle = (act: () => void) => {
        cancel();
        act();
      };
      stream.on('data', ({ TTL }: { TTL: string }) => settle(() => resolve({ ttlMs: Number(TTL) * 1000 })));
      stream.on('error', (error: Error) => settle(() => reject(fromEtcdError(`keep lease ${lease}`, error))));
      stream.on('end', () => settle(late));
      stream.write({ ID: lease });
    });
    try {
      const { ttlMs } = await beat;
      // etcd answers with no time left for a lease that it does not know.
      if (ttlMs <= 0) throw new ClusterError('notFound', `lease ${lease} not found`);
      return { ttlMs };
    } finally {
      endStream(stream);
    }
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    try {
      await told('revoke a lease', this.#etcd.leaseClient.leaseRevoke({ ID: lease }));
    } catch (error) {
      if (!(error instanceof ClusterError && error.kind === 'notFound')) throw error;
    }
  }

  async status(): Promise<KvStatus> {
    const { header, dbSize, dbSizeInUse, errors } = await told('status', this.#etcd.maintenance.status());
    return {
      revision: Number(header.revision),
      sizeBytes: Number(dbSize),
      usedBytes: Number(dbSizeInUse),
      outOfSpace: errors.some((error) => error.includes('NOSPACE')),
    };
  }

  async compact(revision: number): Promise<void> {
    try {
      await told('compact', this.#etcd.kv.compact({ revision }));
    } catch (error) {
      // Compacted that far already.
      if (!(error instanceof ClusterError && error.kind === 'aborted')) throw error;
    }
  }

  async defragment(): Promise<void> {
    const deadline = this.env.clock.now() + DEFRAGMENT_TIMEOUT_MS;
    await told('defragment', this.#etcd.maintenance.defragment({ deadline }));
  }

  async clearSpaceAlarm(): Promise<void> {
    const { alarms } = await told('read alarms', this.#etcd.maintenance.alarm({ action: 'Get' }));
    for (const { memberID, alarm } of alarms) {
      if (String(alarm) !== 'Nospace') continue;
      const request = { action: 'Deactivate', memberID, alarm: 'Nospace' } as const;
      await told('clear an alarm', this.#etcd.maintenance.alarm(request));
    }
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#etcd.close();
  }
}

async function told<T>(what: string, call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw fromEtcdError(what, error);
  }
}
