import { type Clock, delay } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Feed } from './feed.js';
import { objectKey } from './kinds.js';
import type { Kv } from './kv/kv.js';

/** Any one key will do: what counts is the revision in the answer's header. */
const PROBE_KEY = objectKey('cluster', '');
const RETRY_MS = 100;

/** Waits until the cache is as new as etcd was at the time of asking. */
export class Reader {
  #current: Promise<number> | undefined;
  #next: Promise<number> | undefined;

  constructor(
    private readonly kv: Kv,
    private readonly feed: Feed,
    private readonly clock: Clock,
    private readonly patienceMs: number,
    private readonly signal: AbortSignal,
  ) {}

  /** @throws ClusterError `unavailable` when etcd or its events do not come in time; the signal's reason */
  async fresh(signal?: AbortSignal): Promise<void> {
    const timeout = new AbortController();
    const cancel = this.clock.after(this.patienceMs, () => timeout.abort(late()));
    const ends = AbortSignal.any([timeout.signal, this.signal, ...(signal ? [signal] : [])]);
    try {
      const revision = await orAborted(this.#revision(), ends);
      await this.feed.reach(revision, ends);
    } finally {
      cancel();
    }
  }

  /**
   * The revision of a linearizable read begun now or later. One is in flight; all who ask meanwhile share the
   * next, since the one in flight may have been answered before they asked.
   */
  #revision(): Promise<number> {
    if (!this.#current) return this.#begin();
    this.#next ??= this.#current
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.#begin();
      });
    return this.#next;
  }

  #begin(): Promise<number> {
    const current = this.#ask();
    this.#current = current;
    const done = () => {
      if (this.#current === current) this.#current = undefined;
    };
    current.then(done, done);
    return current;
  }

  /** A read may be repeated until it is answered; whoever waits for it has patience of their own. */
  async #ask(): Promise<number> {
    for (;;) {
      try {
        return (await this.kv.range({ key: PROBE_KEY, keysOnly: true })).revision;
      } catch (error) {
        if (!(error instanceof ClusterError) || error.kind !== 'unavailable') throw error;
        await delay(this.clock, RETRY_MS, this.signal);
      }
    }
  }
}

const late = () => new ClusterError('unavailable', 'the store did not answer in time');

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    const onAbort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
