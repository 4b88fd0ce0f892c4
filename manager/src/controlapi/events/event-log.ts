import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Store } from '../../store/view.js';
import type { ClusterEvent } from './cluster-event.js';
import { eventsOf } from './events-of.js';

/** What can still be asked for after it happened: more than dockerd's 256, for there are many hosts. */
const KEPT_MAX = 4_096;
/** A reader that is so far behind is let go, rather than let grow. */
const WAITING_MAX = 10_000;

export interface EventRange {
  /** Undefined: nothing that has happened already. */
  readonly sinceMs: number | undefined;
  /** Undefined: without end. */
  readonly untilMs: number | undefined;
}

/**
 * What has happened in the cluster lately, as this manager has seen it in the store, and what happens from now on. Every
 * manager sees the same, each since its own start.
 */
export class EventLog {
  readonly #kept: ClusterEvent[] = [];
  readonly #readers = new Set<(event: ClusterEvent) => void>();

  constructor(
    store: Store,
    private readonly clock: Clock,
  ) {
    store.subscribe((changes, view) => {
      for (const event of eventsOf(changes, view, this.clock.now())) this.#add(event);
    });
  }

  /** How many are reading at this moment. */
  get readerCount(): number {
    return this.#readers.size;
  }

  /**
   * Those that `matches` accepts, in the order in which they were seen.
   *
   * @throws ClusterError `resourceExhausted` when they come faster than they are taken
   */
  async *read(
    range: EventRange,
    matches: (event: ClusterEvent) => boolean,
    signal: AbortSignal,
  ): AsyncGenerator<ClusterEvent> {
    const { sinceMs, untilMs } = range;
    const waiting: ClusterEvent[] = [];
    let wake = () => {};
    let isOver = false;
    const isDue = ({ atMs }: ClusterEvent) => untilMs === undefined || atMs <= untilMs;
    const take = (event: ClusterEvent) => {
      if (isDue(event) && matches(event)) waiting.push(event);
      wake();
    };
    if (sinceMs !== undefined) for (const event of this.#kept) if (event.atMs >= sinceMs) take(event);
    const end = () => {
      isOver = true;
      wake();
    };
    const cancel =
      untilMs === undefined ? () => {} : this.clock.after(Math.max(0, untilMs - this.clock.now()), end);
    this.#readers.add(take);
    signal.addEventListener('abort', end, { once: true });
    try {
      for (;;) {
        if (waiting.length > WAITING_MAX)
          throw new ClusterError('resourceExhausted', 'events come faster than they are read');
        yield* waiting.splice(0);
        if (waiting.length > 0) continue;
        if (isOver || signal.aborted) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      cancel();
      this.#readers.delete(take);
      signal.removeEventListener('abort', end);
    }
  }

  #add(event: ClusterEvent): void {
    this.#kept.push(event);
    if (this.#kept.length > KEPT_MAX) this.#kept.shift();
    for (const take of this.#readers) take(event);
  }
}
