import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { isTemporary } from '@tessera/shared/errors';
import type { Cache } from './cache.js';
import { ROOT } from './kinds.js';
import type { KeyValue, Kv, Watch } from './kv/kv.js';

/** Keys read at once: about 1 MiB of tasks. */
const PAGE = 1_000;
const RETRY_MS = 500;
/** How late the cache may be before a write of our own asks for an event. */
const NUDGE_AFTER_MS = 100;
/** How late even that event may be before the watch counts as stuck. */
const STUCK_AFTER_MS = 3_000;

export interface FeedOptions {
  readonly kv: Kv;
  readonly cache: Cache;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A key of this manager's own that a nudge writes. */
  readonly nudgeKey: string;
  readonly signal: AbortSignal;
}

/** Keeps the cache up to date: a list, then every revision after it, and a list anew when history was compacted. */
export class Feed {
  #watch: Watch | undefined;
  #nudging = false;

  constructor(private readonly options: FeedOptions) {
    options.signal.addEventListener('abort', () => this.#watch?.close(), { once: true });
  }

  /** Fills the cache. @throws ClusterError `unavailable` */
  async start(): Promise<void> {
    const { kv, cache, signal } = this.options;
    const { revision, kvs } = await this.#list();
    if (signal.aborted) return;
    cache.replace(revision, kvs);
    this.#watch = kv.watch(ROOT, revision + 1, {
      onEvents: (at, events) => cache.apply(at, events),
      onCompacted: () => void this.#startAgain(),
    });
  }

  /**
   * Resolves once the cache has `revision`.
   *
   * All that a cluster writes lies under ROOT, so every revision comes as an event. In an etcd shared with
   * others one may not: then a write of our own makes a later revision that does.
   *
   * @throws the signal's reason
   */
  async reach(revision: number, signal: AbortSignal): Promise<void> {
    const cancel = this.options.clock.after(NUDGE_AFTER_MS, () => void this.#nudge(revision));
    try {
      await this.options.cache.catchUp(revision, signal);
    } finally {
      cancel();
    }
  }

  async #nudge(revision: number): Promise<void> {
    const { kv, cache, clock, logger, nudgeKey } = this.options;
    if (this.#nudging || cache.revision >= revision) return;
    this.#nudging = true;
    try {
      const put = { kind: 'put', key: nudgeKey, value: new Uint8Array() } as const;
      await kv.txn({ compares: [], success: [put], failure: [] });
      await delay(clock, STUCK_AFTER_MS, this.options.signal);
      if (cache.revision < revision) {
        logger.warn({ revision, cached: cache.revision }, 'the watch is silent: starting it again');
        this.#watch?.restart();
      }
    } catch (error) {
      if (!isTemporary(error) && !this.options.signal.aborted) throw error;
    } finally {
      this.#nudging = false;
    }
  }

  async #startAgain(): Promise<void> {
    const { clock, logger, signal } = this.options;
    logger.info({}, 'the watch fell behind a compaction: listing again');
    while (!signal.aborted) {
      try {
        return await this.start();
      } catch (error) {
        if (signal.aborted) return;
        logger.warn({ error }, 'listing the store failed: trying again');
        await delay(clock, RETRY_MS, signal).catch(() => {});
      }
    }
  }

  async #list(): Promise<{ revision: number; kvs: readonly KeyValue[] }> {
    const first = await this.options.kv.range({ key: ROOT, prefix: true, limit: PAGE });
    const kvs = [...first.kvs];
    const { revision } = first;
    for (let { more } = first; more; ) {
      const after = kvs.at(-1)!.key;
      const page = await this.options.kv.range({ key: ROOT, prefix: true, limit: PAGE, after, revision });
      kvs.push(...page.kvs);
      more = page.more;
    }
    return { revision, kvs };
  }
}
