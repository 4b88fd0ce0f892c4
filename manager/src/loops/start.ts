import { setMaxListeners } from 'node:events';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { type Allocator, allocatorLoop } from '../allocator/index.js';
import {
  containerMoverLoop,
  containerReaperLoop,
  imagePlacementLoop,
  orchestratorLoop,
  orphansLoop,
  reapContainer,
  reaperLoop,
  volumeReaperLoop,
} from '../orchestrator/index.js';
import { type Scheduler, schedulerLoop } from '../scheduler/index.js';
import type { Store, Transaction } from '../store/view.js';
import type { LeaderDecisions } from './decisions.js';
import { type LoopEnvironment, type RunningLoop, runLoop } from './leader-loop.js';

export interface RunningLoops {
  /** Resolves once nothing is left to do until something changes or falls due. */
  idle(): Promise<void>;
  readonly decisions: LeaderDecisions;
}

/**
 * Starts every loop of the leader; they end with the signal.
 *
 * @param store fenced by the election key: after another manager has been elected it writes nothing
 * @throws ClusterError `unavailable` when the store cannot be read
 */
export async function startLoops(
  store: Store,
  clock: Clock,
  random: Random,
  logger: Logger,
  signal: AbortSignal,
): Promise<RunningLoops> {
  // All that the last leader wrote must be in the picture: it can write no more from here on.
  await store.read(signal);
  // Every loop listens to it, and so does what it is made of.
  setMaxListeners(64, signal);
  const environment: LoopEnvironment = { store, clock, logger, signal };
  const allocator = allocatorLoop(store);
  const scheduler = schedulerLoop(store, clock);
  const loops: RunningLoop[] = [
    orchestratorLoop({ store, clock, random }),
    allocator,
    scheduler,
    reaperLoop(store),
    containerReaperLoop(store, clock),
    containerMoverLoop(store, clock),
    volumeReaperLoop(store),
    orphansLoop(store, clock),
    imagePlacementLoop(store),
  ].map((definition) => runLoop(definition, environment));
  return {
    async idle() {
      for (const loop of loops) await loop.idle();
    },
    decisions: {
      store,
      createPlaced: (id, make) => createPlaced({ store, allocator, scheduler }, id, make),
      reap: (tx, id) => reapContainer(tx, id, clock.now()),
    },
  };
}

async function createPlaced<T>(
  leader: { readonly store: Store; readonly allocator: Allocator; readonly scheduler: Scheduler },
  containerId: string,
  make: (tx: Transaction) => T,
): Promise<T> {
  try {
    return await leader.store.update((tx) => {
      const made = make(tx);
      leader.allocator.allocateIn(tx, containerId);
      leader.scheduler.placeIn(tx, containerId);
      const refusal = tx.containerPlacements.get(containerId)?.pendingReason;
      if (refusal) throw new ClusterError('conflict', refusal);
      return made;
    });
  } finally {
    leader.scheduler.recount(containerId);
  }
}
