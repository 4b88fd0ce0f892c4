import { type Clock, delay, type Logger } from '@tessera/shared/env';
import type { DesiredNetworks, NetworkPlane } from '../network/network-plane.js';

const RETRY_MIN_MS = 200;
const RETRY_MAX_MS = 10_000;

/** What has been asked for, by its place in the order of asking. */
interface Request {
  readonly turn: number;
  readonly sequence: number;
  readonly networks: DesiredNetworks;
}

/**
 * Brings the kernel's networks to the latest set, one pass at a time; sets that come during a pass share the next.
 * A pass that fails is repeated until it succeeds or a newer set takes its place.
 */
export class NetworkApplier {
  #wanted: Request | undefined;
  #running = false;
  #turn = 0;
  #appliedTurn = 0;

  constructor(
    private readonly options: {
      readonly plane: NetworkPlane;
      readonly clock: Clock;
      readonly logger: Logger;
      readonly signal: AbortSignal;
      /** Called after each pass that succeeded. */
      readonly onApplied: (networks: DesiredNetworks) => void;
    },
  ) {}

  /** Every request with this turn or a lower one is in the kernel. */
  get appliedTurn(): number {
    return this.#appliedTurn;
  }

  /** @returns the turn that `appliedTurn` reaches when these networks, or later ones, have been applied */
  request(networks: DesiredNetworks, sequence: number): number {
    this.#wanted = { turn: ++this.#turn, sequence, networks };
    if (!this.#running) void this.#run();
    return this.#turn;
  }

  async #run(): Promise<void> {
    const { plane, clock, logger, signal } = this.options;
    this.#running = true;
    let retryMs = RETRY_MIN_MS;
    while (this.#wanted && !signal.aborted) {
      const { turn, sequence, networks } = this.#wanted;
      try {
        await plane.apply(networks, sequence);
        retryMs = RETRY_MIN_MS;
        this.#appliedTurn = turn;
        if (this.#wanted.turn === turn) this.#wanted = undefined;
        this.options.onApplied(networks);
      } catch (error) {
        logger.error({ error, sequence }, 'networks could not be applied; trying again');
        await delay(clock, retryMs, signal).catch(() => undefined);
        retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
      }
    }
    this.#running = false;
  }
}
