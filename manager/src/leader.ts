import { type Clock, delay, type Logger } from '@tessera/shared/env';
import type { ClusterStore, Election, Store } from './store/index.js';

/** What a leader's loops run on, for as long as it leads. */
export interface Term {
  /** Fenced: its updates fail as soon as another manager leads, however late this one notices. */
  readonly store: Store;
  /** Aborted when the term is over. */
  readonly signal: AbortSignal;
  /** Whether this manager leads for certain: nobody's silence counts while it does not. */
  isSure(): boolean;
}

export interface LeaderOptions {
  readonly store: Pick<ClusterStore, 'fenced'>;
  readonly election: Election;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Runs every loop of a leader until `term.signal` is aborted, and resolves once all have stopped. */
  readonly lead: (term: Term) => Promise<void>;
}

const AFTER_FAILURE_MS = 1_000;

/** Starts the loops when this manager is elected, and stops them when it is deposed, over and over. */
export class Leader {
  constructor(private readonly options: LeaderOptions) {}

  /** Resolves once `signal` is aborted, the loops have stopped and another manager may take over. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#term(signal);
      } catch (error) {
        if (signal.aborted) return;
        this.options.logger.error({ error }, 'leading failed: campaigning again');
        await delay(this.options.clock, AFTER_FAILURE_MS, signal).catch(() => {});
      }
    }
  }

  async #term(signal: AbortSignal): Promise<void> {
    const { store, election, logger, lead } = this.options;
    const leadership = await election.campaign(signal);
    logger.info({ createRevision: leadership.fence.createRevision }, 'this manager leads');
    try {
      await lead({
        store: store.fenced(leadership.fence),
        signal: AbortSignal.any([leadership.signal, signal]),
        isSure: () => leadership.isSure(),
      });
    } finally {
      await leadership.resign();
      logger.info({}, 'this manager no longer leads');
    }
  }
}
