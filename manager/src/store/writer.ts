import { type Clock, delay, type Logger, newId, type Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Batch, CHANGE_OPS_MAX } from './batch.js';
import type { Cache } from './cache.js';
import type { Feed } from './feed.js';
import { ROOT } from './kinds.js';
import { Compacted, type Compare, type Kv, type LeaseId, type OpResult } from './kv/kv.js';
import { CacheTransaction } from './transaction.js';
import type { Transaction } from './view.js';

/** How many times to decide again before telling the caller to come back later. */
const ATTEMPTS_MAX = 10;
/** Updates that may wait for their turn. */
const QUEUE_MAX = 10_000;
/** Waiting updates looked at for one batch: those that collide with it are decided again for the next. */
const LOOKED_AT_MAX = 512;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 1_000;

/** The election key as it was when this manager won it: a new leader's has another create revision. */
export interface Fence {
  readonly key: string;
  readonly createRevision: number;
}
export interface WriterOptions {
  readonly kv: Kv;
  readonly cache: Cache;
  readonly feed: Feed;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Names this writer's mark; no two that live at once share it. */
  readonly name: string;
  readonly fence?: Fence;
  /** @throws ClusterError `unavailable` while this manager has no lease */
  readonly sessionLease: () => LeaseId;
  /** How long an update waits for etcd before it gives up. */
  readonly patienceMs: number;
  readonly signal: AbortSignal;
}

interface Job {
  readonly body: (tx: Transaction) => unknown;
  attempts: number;
  result: unknown;
  /** In a request whose outcome is not known yet. */
  sent: boolean;
  settled: boolean;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}
/** `lost`: another process writes under this writer's name, or history was compacted: nobody can tell. */
type Outcome =
  | { readonly kind: 'done'; readonly revision: number; readonly committed: readonly boolean[] }
  | { readonly kind: 'again' | 'deposed' | 'lost' };

/**
 * Commits updates, one request in flight; those that come meanwhile share the next one.
 *
 * Bodies run when their batch is filled, on a cache that has this writer's own earlier writes, so updates of
 * one manager never lose to each other.
 *
 * Every batch overwrites one key of this writer, its *mark*, with the batch's id, and compares the mark's last
 * revision. So an answer that is lost can be looked up for certain: the look-up overwrites the mark itself,
 * and if it may, the batch has not been committed and never will be, however late the network delivers it.
 */
export class Writer {
  readonly #markKey: string;
  #markRevision = 0;
  #queue: Job[] = [];
  #pumping = false;
  #deposed = false;

  constructor(private readonly options: WriterOptions) {
    this.#markKey = `${ROOT}writers/${options.name}`;
  }

  update<T>(body: (tx: Transaction) => T): Promise<T> {
    if (this.options.signal.aborted) return Promise.reject(closed());
    if (this.#deposed) return Promise.reject(deposed());
    if (this.#queue.length >= QUEUE_MAX) {
      const message = `${QUEUE_MAX} changes are waiting for the store already: try again later`;
      return Promise.reject(new ClusterError('resourceExhausted', message));
    }
    return new Promise<T>((resolve, reject) => {
      this.#queue.push(this.#job(body, resolve as (result: unknown) => void, reject));
      if (!this.#pumping) void this.#pump();
    });
  }

  #job(body: Job['body'], resolve: Job['resolve'], reject: Job['reject']): Job {
    const settle = () => {
      job.settled = true;
      cancel();
    };
    const job: Job = {
      body,
      attempts: 0,
      result: undefined,
      sent: false,
      settled: false,
      resolve: (result) => {
        settle();
        resolve(result);
      },
      reject: (error) => {
        settle();
        reject(error);
      },
    };
    const cancel = this.options.clock.after(this.options.patienceMs, () => job.reject(noAnswer(job)));
    return job;
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    while (this.#queue.length > 0 && !this.options.signal.aborted) {
      const batch = this.#fill();
      if (batch.jobs.length > 0) await this.#commit(batch);
    }
    if (this.options.signal.aborted) this.#rejectAll(this.#queue.splice(0), closed());
    this.#pumping = false;
  }

  /** Takes from the queue, in order, what can go in one request. */
  #fill(): Batch<Job> {
    const batch = new Batch<Job>();
    const waiting: Job[] = [];
    let taken = 0;
    for (const job of this.#queue) {
      if (batch.full || waiting.length >= LOOKED_AT_MAX) break;
      taken++;
      if (!job.settled && !this.#decide(job, batch)) waiting.push(job);
    }
    this.#queue = [...waiting, ...this.#queue.slice(taken)];
    return batch;
  }

  /** Runs a body and adds its change to the batch. @returns false when it must wait for the next one */
  #decide(job: Job, batch: Batch<Job>): boolean {
    try {
      const tx = new CacheTransaction(this.options.cache);
      job.result = job.body(tx);
      const change = tx.compile(this.options.clock.now(), this.options.sessionLease);
      if (!change) {
        job.resolve(job.result);
        return true;
      }
      const size = Math.max(change.compares.length, change.ops.length);
      if (size > CHANGE_OPS_MAX) throw tooLarge(size);
      job.sent = batch.add(job, change);
      return job.sent;
    } catch (error) {
      job.reject(error);
      return true;
    }
  }

  async #commit(batch: Batch<Job>): Promise<void> {
    const id = newId(this.options.random);
    let outcome: Outcome;
    try {
      outcome = await this.#send(batch, id);
    } catch (error) {
      this.#rejectAll(batch.jobs, this.options.signal.aborted ? closed() : error);
      return;
    }
    switch (outcome.kind) {
      case 'done':
        return this.#settle(batch, outcome.revision, outcome.committed);
      case 'again':
        return this.#requeue(batch.jobs);
      case 'deposed':
        this.#deposed = true;
        return this.#rejectAll([...batch.jobs, ...this.#queue.splice(0)], deposed());
      case 'lost':
        return this.#rejectAll(batch.jobs, new ClusterError('unavailable', UNKNOWN));
    }
  }

  async #settle(batch: Batch<Job>, revision: number, committed: readonly boolean[]): Promise<void> {
    const { cache, feed, signal } = this.options;
    // Where nobody else has written in between, there is no event to wait for but our own.
    if (cache.revision === revision - 1) cache.apply(revision, batch.events(revision, committed));
    // So that whoever reads next sees these writes, and a body that lost decides on what beat it.
    // Nobody may be reading: a watch that has fallen silent is noticed here too, or this writer would wait for ever.
    await feed.reach(revision, signal).catch(() => {});
    const again: Job[] = [];
    batch.jobs.forEach((job, index) => {
      if (committed[index]) job.resolve(job.result);
      else if (++job.attempts < ATTEMPTS_MAX) again.push(job);
      else job.reject(new ClusterError('aborted', `update lost to another writer ${ATTEMPTS_MAX} times`));
    });
    this.#requeue(again);
  }

  /** Back in front of the queue, to be decided anew. */
  #requeue(jobs: readonly Job[]): void {
    for (const job of jobs) job.sent = false;
    this.#queue = [...jobs, ...this.#queue];
  }

  async #send(batch: Batch<Job>, id: string): Promise<Outcome> {
    const txn = batch.toTxn(this.#guards(), this.#putMark(id), this.#readGuards());
    try {
      const { succeeded, results, revision } = await this.options.kv.txn(txn);
      if (!succeeded) return this.#refused(results);
      this.#markRevision = revision;
      return { kind: 'done', revision, committed: results.slice(1).map(nestedSucceeded) };
    } catch (error) {
      if (!isUnknown(error)) throw error;
      this.options.logger.warn({ error, changes: batch.jobs.length }, 'no answer to a commit: looking it up');
      return this.#lookUp(batch, id);
    }
  }

  /** What a batch needs to hold: that this manager leads, and that the mark is as this writer left it. */
  #guards(): readonly Compare[] {
    const { fence } = this.options;
    const mark: Compare = { key: this.#markKey, target: 'modRevision', equals: this.#markRevision };
    return fence
      ? [mark, { key: fence.key, target: 'createRevision', equals: fence.createRevision }]
      : [mark];
  }

  #putMark(value: string) {
    return { kind: 'put', key: this.#markKey, value: Buffer.from(value) } as const;
  }

  #readGuards() {
    const { fence } = this.options;
    const keys = fence ? [this.#markKey, fence.key] : [this.#markKey];
    return keys.map((key) => ({ kind: 'get', key }) as const);
  }

  #refused(results: readonly OpResult[]): Outcome {
    const { mark, deposed } = this.#readRefusal(results);
    if (deposed) return { kind: 'deposed' };
    // The first batch of this writer, or a namesake has written: take up the mark where it is.
    this.#markRevision = mark?.modRevision ?? 0;
    return { kind: 'again' };
  }

  #readRefusal([mark, election]: readonly OpResult[]) {
    const { fence } = this.options;
    const leads = !fence || gotKv(election)?.createRevision === fence.createRevision;
    return { mark: gotKv(mark), deposed: !leads };
  }

  /** Finds out what became of a batch whose answer was lost, waiting for etcd as long as it takes. */
  async #lookUp(batch: Batch<Job>, id: string): Promise<Outcome> {
    const mark = await this.#persist(() => this.#closeMark(id));
    if (mark.kind !== 'made') return mark;
    try {
      const committed = await this.#persist(() => this.#outcomesAt(batch, mark.revision));
      return { kind: 'done', revision: mark.revision, committed };
    } catch (error) {
      if (error instanceof Compacted) return { kind: 'lost' };
      throw error;
    }
  }

  /** Says whether a batch was committed, and sees to it that it is not any more if it was not. Repeatable. */
  async #closeMark(
    id: string,
  ): Promise<{ kind: 'made'; revision: number } | { kind: 'again' | 'deposed' | 'lost' }> {
    const never = `void ${id}`;
    const { succeeded, results, revision } = await this.options.kv.txn({
      compares: this.#guards(),
      success: [this.#putMark(never)],
      failure: this.#readGuards(),
    });
    const { mark, deposed } = this.#readRefusal(results);
    const found = mark && Buffer.from(mark.value).toString();
    const known = this.#markRevision;
    this.#markRevision = succeeded ? revision : (mark?.modRevision ?? 0);
    if (succeeded) return { kind: 'again' };
    if (found === id) return { kind: 'made', revision: this.#markRevision };
    // Deposed for good: the batch, which compares the same election key, can no longer come true.
    if (deposed) return { kind: 'deposed' };
    // Either this look-up's own answer was lost, or the first batch met the mark of this manager's previous life.
    if (found === never || known === 0) return { kind: 'again' };
    return { kind: 'lost' };
  }

  /**
   * Which changes of a batch committed at `revision` were made: those whose compares held just before it. This
   * is the one read of an old revision, and etcd keeps an hour of them.
   */
  async #outcomesAt(batch: Batch<Job>, revision: number): Promise<boolean[]> {
    const committed: boolean[] = [];
    for (const { compares } of batch.changes) {
      const gets = compares.map(({ key }) => ({ kind: 'get', key, revision: revision - 1 }) as const);
      const { results } = await this.options.kv.txn({ compares: [], success: gets, failure: [] });
      committed.push(
        compares.every(({ target, equals }, index) => (gotKv(results[index])?.[target] ?? 0) === equals),
      );
    }
    return committed;
  }

  /** Repeats `act`, which may be repeated, until etcd answers. */
  async #persist<T>(act: () => Promise<T>): Promise<T> {
    const { clock, signal } = this.options;
    for (let retryMs = RETRY_MIN_MS; ; retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)) {
      try {
        return await act();
      } catch (error) {
        if (!isUnknown(error)) throw error;
        await delay(clock, retryMs, signal);
      }
    }
  }

  #rejectAll(jobs: readonly Job[], error: unknown): void {
    for (const job of jobs) if (!job.settled) job.reject(error);
  }
}

const UNKNOWN = 'the store did not answer in time: the change may or may not have been made';
const NOT_MADE = 'the store does not answer: the change was not made';

const closed = () => new ClusterError('unavailable', 'the store is closed');
const deposed = () => new ClusterError('unavailable', 'this manager no longer leads');
const noAnswer = ({ sent }: Job) => new ClusterError('unavailable', sent ? UNKNOWN : NOT_MADE);
const tooLarge = (size: number) =>
  new ClusterError(
    'resourceExhausted',
    `${size} changes in one transaction: at most ${CHANGE_OPS_MAX} go in`,
  );

/** No answer came, so the call may have been carried out. */
const isUnknown = (error: unknown): boolean => error instanceof ClusterError && error.kind === 'unavailable';

const gotKv = (result: OpResult | undefined) => (result?.kind === 'get' ? result.kv : undefined);
const nestedSucceeded = (result: OpResult): boolean => result.kind === 'txn' && result.result.succeeded;
