import { type Clock, delay, type Logger, type Random } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import type { Goodbye } from '@tessera/shared/wire';
import { Session, type SessionEnd, type SessionOptions } from './session.js';

const BACKOFF_MIN_MS = 100;
/** Low enough to be back soon after a link has healed; jitter keeps 10,000 agents from coming at once. */
const BACKOFF_MAX_MS = 3_000;

export interface SessionLoopOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** Addresses to try, those to be preferred first. */
  readonly managerAddrs: () => readonly string[];
  readonly open: (managerAddr: string) => Omit<SessionOptions, 'managerAddr' | 'clock' | 'logger'>;
  /** The node has been removed from the cluster. The loop ends after it. */
  readonly onRemoved: (reason: string) => void;
}

/** Keeps one session open: dials managers in turn, and again when a session is lost. */
export class SessionLoop {
  #session: Session | undefined;
  #stopping = new AbortController();
  #done: Promise<void> | undefined;

  constructor(private readonly options: SessionLoopOptions) {}

  /** The session of now, which may not be welcomed yet. */
  get session(): Session | undefined {
    return this.#session;
  }

  start(): void {
    this.#done = this.#run();
  }

  /** Ends the session, with a goodbye if one is given, and dials no more. */
  async stop(goodbye?: Goodbye): Promise<void> {
    this.#stopping.abort(new DOMException('the agent stops', 'AbortError'));
    if (goodbye) await this.#session?.sayGoodbye(goodbye);
    this.#session?.close('the agent stops');
    await this.#done;
  }

  async #run(): Promise<void> {
    const { clock, random, logger, managerAddrs } = this.options;
    const signal = this.#stopping.signal;
    let backoffMs = BACKOFF_MIN_MS;
    let turn = 0;
    while (!signal.aborted) {
      const addrs = managerAddrs();
      const addr = addrs[turn++ % Math.max(1, addrs.length)];
      if (addr === undefined) {
        logger.error({}, 'no manager address is known: join the cluster again');
      } else {
        const end = await this.#oneSession(addr);
        if (signal.aborted) return;
        if (end.kind === 'dismissed' && end.removed) return this.options.onRemoved(end.reason);
        if (end.kind === 'lost' && end.welcomed) {
          // Back to the preferred one first, and without the delays that failed attempts had built up.
          backoffMs = BACKOFF_MIN_MS;
          turn = 0;
        }
      }
      const waitMs = backoffMs * (0.5 + random.next());
      backoffMs = Math.min(backoffMs * 2, BACKOFF_MAX_MS);
      await delay(clock, waitMs, signal).catch(() => undefined);
    }
  }

  async #oneSession(managerAddr: string): Promise<SessionEnd> {
    const { clock, logger, open } = this.options;
    const session = new Session({
      managerAddr,
      clock,
      logger: logger.child({ 'manager.addr': managerAddr }),
      ...open(managerAddr),
    });
    this.#session = session;
    const end = await session.ended;
    this.#session = undefined;
    if (end.kind === 'dismissed')
      logger.warn(
        { 'manager.addr': managerAddr, removed: end.removed },
        `dismissed by the manager: ${end.reason}`,
      );
    else if (!this.#stopping.signal.aborted)
      logger.warn(
        { 'manager.addr': managerAddr, reason: errorText(end.error) },
        'session lost; dialling again',
      );
    return end;
  }
}
