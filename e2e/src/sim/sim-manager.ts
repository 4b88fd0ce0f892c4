import { Dispatcher, NodeMonitor } from '@tessera/manager/dispatcher';
import { Leader } from '@tessera/manager/leader';
import { startLoops } from '@tessera/manager/loops';
import { Election, LeaseKeeper } from '@tessera/manager/store';
import { type MemoryKv, MemoryStore } from '@tessera/manager/store/testing';
import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ProcessClock } from './sim-clock.js';

const SESSION_LEASE_MS = 5_000;
const LATENCY_MS = 1;

export interface SimManagerOptions {
  readonly id: string;
  readonly clock: Clock;
  readonly kv: MemoryKv;
  /** A stream of chance for each part, by its name. */
  readonly random: (name: string) => Random;
  readonly logger: Logger;
}

/** One manager's process: the product's own store, dispatcher, election and loops, on virtual time. */
export class SimManager {
  readonly id: string;
  readonly store: MemoryStore;
  readonly dispatcher: Dispatcher;
  readonly #clock: ProcessClock;
  readonly #stop = new AbortController();
  readonly #lease: LeaseKeeper;
  /** What agents have said while the process stood still, in order. */
  #inbox: (() => void)[] = [];
  #isPaused = false;
  #terms = 0;
  #runningSinceMs: number;
  /** Whether it believes that it leads; a paused leader does, wrongly perhaps. */
  leads = false;

  private constructor(private readonly options: SimManagerOptions) {
    const { id, clock, kv, random, logger } = options;
    this.id = id;
    this.#runningSinceMs = clock.now();
    this.#clock = new ProcessClock(clock);
    this.#lease = new LeaseKeeper(kv, { clock: this.#clock, logger }, SESSION_LEASE_MS);
    this.store = new MemoryStore(kv, {
      clock: this.#clock,
      random: random('store'),
      logger,
      managerId: id,
      lease: () => this.#lease.id,
    });
    this.dispatcher = new Dispatcher({
      store: this.store,
      clock: this.#clock,
      random: random('dispatcher'),
      logger,
      managerId: id,
      managerAddr: `${id}:2377`,
      halted: () => !this.#lease.isSure(),
    });
  }

  static async start(options: SimManagerOptions): Promise<SimManager> {
    const manager = new SimManager(options);
    await manager.#lease.start();
    await manager.store.start();
    manager.#campaign();
    return manager;
  }

  /** What a keep-alive of the connection would find out. */
  get isAnswering(): boolean {
    return !this.#stop.signal.aborted && !this.#isPaused;
  }

  /** Since when it has been running without a stop. */
  get answeringSinceMs(): number | undefined {
    return this.isAnswering ? this.#runningSinceMs : undefined;
  }

  /** SIGSTOP: no timer, no answer, no event, until `resume`. */
  pause(): void {
    this.#isPaused = true;
    this.#clock.pause();
    this.options.kv.freeze();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#runningSinceMs = this.options.clock.now();
    this.#clock.resume();
    this.options.kv.thaw();
    for (const receive of this.#inbox.splice(0)) receive();
  }

  /** SIGKILL. Its leases end by themselves; its agents' connections break. */
  kill(): void {
    this.resume();
    this.#stop.abort(new Error('killed'));
    // Nothing of a killed process reaches the store any more.
    this.options.kv.close();
    this.#clock.pause();
    this.dispatcher.stop();
    this.store.close();
  }

  /** What an agent sends; it waits while the process stands still. */
  receive(act: () => void): void {
    this.options.clock.after(LATENCY_MS, () => {
      if (this.#stop.signal.aborted) return;
      if (this.#isPaused) this.#inbox.push(act);
      else act();
    });
  }

  #campaign(): void {
    const { kv, id, random, logger } = this.options;
    const leader = new Leader({
      store: this.store,
      election: new Election(kv, { clock: this.#clock, random: random('election'), logger, managerId: id }),
      clock: this.#clock,
      logger,
      lead: async ({ store, signal, isSure }) => {
        this.leads = true;
        try {
          await startLoops(store, this.#clock, random(`loops of term ${++this.#terms}`), logger, signal);
          new NodeMonitor({ store, clock: this.#clock, logger, halted: () => !isSure(), signal });
          await new Promise<void>((resolve) =>
            signal.addEventListener('abort', () => resolve(), { once: true }),
          );
        } finally {
          this.leads = false;
        }
      },
    });
    void leader.run(this.#stop.signal).catch((error: unknown) => {
      if (!this.#stop.signal.aborted) logger.error({ error }, 'the leader failed');
    });
  }
}
