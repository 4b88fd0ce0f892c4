import { type Clock, delay, type Logger, newId, type Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Kv, KvEvent, Op } from './kv/kv.js';
import { type Candidacy, LEADER_KEY, parseLeader } from './leader-key.js';
import { LeaseKeeper } from './lease-keeper.js';
import type { Fence } from './writer.js';

/** A crashed leader is replaced after this; one that stops resigns, and is replaced at once. */
const LEASE_TTL_MS = 5_000;
const RETRY_MS = 500;

export interface ElectionOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly managerId: string;
  readonly leaseTtlMs?: number;
}

/** The time during which one manager leads. */
export interface Leadership {
  /** What every write of this leader compares. */
  readonly fence: Fence;
  /** Aborted once another manager may lead: the election key or the lease under it is gone. */
  readonly signal: AbortSignal;
  /**
   * Whether this manager leads for certain. It is unsure while etcd is silent or after this process stood
   * still: it goes on (its writes are fenced), but draws no conclusion from anybody else's silence.
   */
  isSure(): boolean;
  /** Ends it, so that another manager takes over at once. Repeatable. */
  resign(): Promise<void>;
}

/** One key, made by one manager at a time, under its lease. */
export class Election {
  constructor(
    private readonly kv: Kv,
    private readonly options: ElectionOptions,
  ) {}

  /** Resolves once this manager leads. @throws the signal's reason */
  async campaign(signal: AbortSignal): Promise<Leadership> {
    const { clock, random, logger, managerId, leaseTtlMs = LEASE_TTL_MS } = this.options;
    const candidacy: Candidacy = { managerId, term: newId(random) };
    const keeper = new LeaseKeeper(
      this.kv,
      { clock, logger: logger.child({ lease: 'election' }) },
      leaseTtlMs,
    );
    try {
      await this.#persist(() => keeper.start(), signal);
      for (;;) {
        const attempt = await this.#persist(() => this.#try(keeper, candidacy), signal);
        if (attempt.won) return this.#lead(keeper, attempt.createRevision);
        await this.#vacancy(attempt.revision + 1, signal);
      }
    } catch (error) {
      await keeper.close();
      throw error;
    }
  }

  async #try(
    keeper: LeaseKeeper,
    candidacy: Candidacy,
  ): Promise<{ won: true; createRevision: number } | { won: false; revision: number }> {
    const lease = keeper.id;
    if (!lease) throw new ClusterError('unavailable', 'no lease to lead under');
    const put: Op = { kind: 'put', key: LEADER_KEY, value: Buffer.from(JSON.stringify(candidacy)), lease };
    const { succeeded, revision, results } = await this.kv.txn({
      compares: [{ key: LEADER_KEY, target: 'createRevision', equals: 0 }],
      success: [put],
      failure: [{ kind: 'get', key: LEADER_KEY }],
    });
    if (succeeded) return { won: true, createRevision: revision };
    const [found] = results;
    const kv = found?.kind === 'get' ? found.kv : undefined;
    // Our own, if the answer to an earlier attempt was lost.
    if (kv?.lease === lease && parseLeader(kv.value)?.term === candidacy.term)
      return { won: true, createRevision: kv.createRevision };
    return { won: false, revision };
  }

  #lead(keeper: LeaseKeeper, createRevision: number): Leadership {
    const over = new AbortController();
    const depose = (why: string) => {
      if (!over.signal.aborted)
        over.abort(new ClusterError('unavailable', `this manager no longer leads: ${why}`));
    };
    const stopListening = keeper.onLost(() => depose('its lease was lost'));
    const watch = this.#follow(createRevision + 1, () => depose('the election key is gone'));
    over.signal.addEventListener('abort', () => {
      stopListening();
      watch.close();
      // A lease that outlived its key would keep nothing; the next campaign takes one of its own.
      void keeper.close();
    });
    return {
      fence: { key: LEADER_KEY, createRevision },
      signal: over.signal,
      isSure: () => !over.signal.aborted && keeper.isSure(),
      resign: async () => {
        depose('it resigned');
        await keeper.close();
      },
    };
  }

  /** Resolves once the key is gone. */
  #vacancy(fromRevision: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error);
      const onAbort = () => {
        watch.close();
        reject(signal.reason as Error);
      };
      const watch = this.#follow(fromRevision, () => {
        signal.removeEventListener('abort', onAbort);
        watch.close();
        resolve();
      });
      signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Calls `onGone` when the key is deleted, or might have been unseen. */
  #follow(fromRevision: number, onGone: () => void): { close(): void } {
    const gone = (event: KvEvent) => event.kind === 'delete' && event.key === LEADER_KEY;
    return this.kv.watch(LEADER_KEY, fromRevision, {
      onEvents: (_, events) => {
        if (events.some(gone)) onGone();
      },
      onCompacted: onGone,
    });
  }

  async #persist<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;) {
      if (signal.aborted) throw signal.reason;
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof ClusterError) || !['unavailable', 'notFound'].includes(error.kind))
          throw error;
        await delay(this.options.clock, RETRY_MS, signal);
      }
    }
  }
}
