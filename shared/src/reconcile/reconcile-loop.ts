import type { Clock } from '../env/index.js';

export interface Reconciler {
  /** Brings one object to its spec. Safe to call at any moment, any number of times. */
  reconcile(id: string): Promise<void>;
}

export interface ReconcileLoopOptions {
  /** Ids under way at once. One id is never under way twice. */
  readonly concurrency: number;
  readonly retryMinMs: number;
  readonly retryMaxMs: number;
  readonly signal: AbortSignal;
  readonly onError: (id: string, error: unknown) => void;
}

/**
 * Calls a reconciler for every id marked dirty.
 *
 * An event only says that something changed; the reconciler reads the current state
 * itself. So a burst of events costs one pass, and a lost event is mended by the next.
 * A failed id is tried again after a delay that doubles up to `retryMaxMs`.
 */
export class ReconcileLoop {
  readonly #dirty = new Set<string>();
  readonly #running = new Set<string>();
  readonly #retries = new Map<string, { attempts: number; cancel: () => void }>();
  readonly #idleWaiters: (() => void)[] = [];
  #scheduled = false;

  constructor(
    private readonly reconciler: Reconciler,
    private readonly clock: Clock,
    private readonly options: ReconcileLoopOptions,
  ) {
    options.signal.addEventListener('abort', () => this.#stop(), { once: true });
  }

  mark(id: string): void {
    if (this.options.signal.aborted) return;
    this.#dirty.add(id);
    this.#schedule();
  }

  /** Resolves once everything marked so far has been reconciled; failed ids wait for their retry elsewhere. */
  idle(): Promise<void> {
    if (this.#dirty.size === 0 && this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** On a later turn, so that a burst gathers and nothing runs on the caller's stack. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#startWaiting();
    });
  }

  #startWaiting(): void {
    for (const id of this.#dirty) {
      if (this.#running.size >= this.options.concurrency || this.options.signal.aborted) break;
      if (this.#running.has(id)) continue;
      this.#dirty.delete(id);
      void this.#run(id);
    }
    if (this.#dirty.size === 0 && this.#running.size === 0) this.#releaseIdle();
  }

  async #run(id: string): Promise<void> {
    this.#running.add(id);
    this.#retries.get(id)?.cancel();
    try {
      await this.reconciler.reconcile(id);
      this.#retries.delete(id);
    } catch (error) {
      if (!this.options.signal.aborted) {
        this.options.onError(id, error);
        this.#retryLater(id);
      }
    } finally {
      this.#running.delete(id);
      this.#schedule();
    }
  }

  #retryLater(id: string): void {
    const attempts = (this.#retries.get(id)?.attempts ?? 0) + 1;
    const delayMs = Math.min(this.options.retryMinMs * 2 ** (attempts - 1), this.options.retryMaxMs);
    const cancel = this.clock.after(delayMs, () => this.mark(id));
    this.#retries.set(id, { attempts, cancel });
  }

  #stop(): void {
    for (const { cancel } of this.#retries.values()) cancel();
    this.#retries.clear();
    this.#dirty.clear();
    if (this.#running.size === 0) this.#releaseIdle();
  }

  #releaseIdle(): void {
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
