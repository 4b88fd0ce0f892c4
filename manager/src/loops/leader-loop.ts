import type { Clock, Logger } from '@tessera/shared/env';
import { isTemporary } from '@tessera/shared/errors';
import { ReconcileLoop } from '@tessera/shared/reconcile';
import type { Change, Store, View } from '../store/view.js';

/** What a pass over one id came to. */
export interface Outcome {
  /** Whether it wrote anything. A full pass that did means that an event was lost. */
  readonly worked: boolean;
  /** Unix time in milliseconds at which to look again, although nothing will have changed. */
  readonly wakeAtMs?: number | undefined;
}

/** One of the leader's loops: which ids there are, which a change concerns, and what to do about one. */
export interface LoopDefinition {
  readonly name: string;
  readonly concurrency: number;
  /** Every id, for the first pass and for the slow full one. */
  ids(view: View): Iterable<string>;
  /** Ids that these changes make worth looking at. Called for each revision, in order: keep it cheap. */
  touched(changes: readonly Change[], view: View): Iterable<string>;
  reconcile(id: string): Promise<Outcome>;
}

export interface LoopEnvironment {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** How often everything is looked at again although no event asked for it. */
const FULL_PASS_MS = 60_000;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 10_000;

export interface RunningLoop {
  /** Resolves once everything marked so far has been reconciled. */
  idle(): Promise<void>;
}

/**
 * Runs one loop until the signal is aborted: over everything at first, then over what changes touch, over
 * what asked to be woken, and slowly over everything again.
 */
export function runLoop(definition: LoopDefinition, environment: LoopEnvironment): RunningLoop {
  const { store, clock, signal } = environment;
  const logger = environment.logger.child({ module: definition.name });
  const wakes = new Map<string, { atMs: number; cancel: () => void }>();
  // Ids that nothing but the full pass has asked for.
  const audited = new Set<string>();

  const loop = new ReconcileLoop({ reconcile }, clock, {
    concurrency: definition.concurrency,
    retryMinMs: RETRY_MIN_MS,
    retryMaxMs: RETRY_MAX_MS,
    signal,
    onError: (id, error) => {
      const fields = { id, error };
      if (isTemporary(error)) logger.debug(fields, `${definition.name} will look again`);
      else logger.error(fields, `${definition.name} failed`);
    },
  });

  async function reconcile(id: string): Promise<void> {
    const audit = audited.delete(id);
    const { worked, wakeAtMs } = await definition.reconcile(id);
    // An event that came meanwhile explains the work.
    if (worked && audit && !signal.aborted) {
      logger.warn({ id }, `the full pass of ${definition.name} found work: an event was lost`);
    }
    wakeLater(id, wakeAtMs);
  }

  function wakeLater(id: string, atMs: number | undefined): void {
    const set = wakes.get(id);
    if (set?.atMs === atMs || signal.aborted) return;
    set?.cancel();
    wakes.delete(id);
    if (atMs === undefined) return;
    const cancel = clock.after(Math.max(0, atMs - clock.now()), () => {
      wakes.delete(id);
      mark(id);
    });
    wakes.set(id, { atMs, cancel });
  }

  function mark(id: string): void {
    audited.delete(id);
    loop.mark(id);
  }

  function fullPass(): void {
    for (const id of definition.ids(store.view())) {
      audited.add(id);
      loop.mark(id);
    }
    cancelFullPass = clock.after(FULL_PASS_MS, fullPass);
  }

  const unsubscribe = store.subscribe((changes, view) => {
    for (const id of definition.touched(changes, view)) mark(id);
  });
  for (const id of definition.ids(store.view())) mark(id);
  let cancelFullPass = clock.after(FULL_PASS_MS, fullPass);

  const stop = () => {
    unsubscribe();
    cancelFullPass();
    for (const { cancel } of wakes.values()) cancel();
    wakes.clear();
  };
  if (signal.aborted) stop();
  else signal.addEventListener('abort', stop, { once: true });
  return loop;
}
