import type { Random } from '@tessera/shared/env';
import type { SimAgent, StatusFaults } from './sim-agent.js';
import type { SimClock } from './sim-clock.js';
import type { SimManager } from './sim-manager.js';

/** What can be broken, and mended. */
export interface BreakableCluster {
  readonly clock: Pick<SimClock, 'after'>;
  readonly agents: ReadonlyMap<string, SimAgent>;
  readonly managers: readonly SimManager[];
  readonly statusFaults: StatusFaults;
  /** Which part of its requests the store fails. */
  storeTrouble: number;
  addNode(): Promise<void>;
  removeNode(agent: SimAgent): Promise<void>;
  addManager(): Promise<unknown>;
  forgetManager(manager: SimManager): void;
}

/** Breaks things, a little at a time and never all at once, and mends them again. */
export class Faults {
  readonly #mends: (() => void)[] = [];
  #isOver = false;

  constructor(
    private readonly cluster: BreakableCluster,
    private readonly random: Random,
  ) {
    Object.assign(cluster.statusFaults, { lateChance: 0.1, lateMaxMs: 1_500, twiceChance: 0.1 });
  }

  nextAfterMs(): number {
    return Math.ceil(this.random.next() * 2_500);
  }

  async act(): Promise<void> {
    const dice = this.random.next();
    if (dice < 0.12) this.#killHost();
    else if (dice < 0.24) this.#cutHost();
    else if (dice < 0.34) this.#pick(this.#hosts())?.restartAgent();
    else if (dice < 0.42) this.#pauseManager();
    else if (dice < 0.48) await this.#killManager();
    else if (dice < 0.52) this.#pauseLeader();
    else if (dice < 0.58) this.#troubleStore();
    else if (dice < 0.61) await this.#replaceNode();
  }

  /** Mends everything at once. */
  end(): void {
    this.#isOver = true;
    for (const mend of this.#mends.splice(0)) mend();
    Object.assign(this.cluster.statusFaults, { lateChance: 0, lateMaxMs: 0, twiceChance: 0 });
    this.cluster.storeTrouble = 0;
    for (const agent of this.cluster.agents.values()) {
      agent.heal();
      agent.powerOn();
    }
  }

  /** As a user does with a host that is not coming back: its node is removed, another host joins. */
  async #replaceNode(): Promise<void> {
    const agent = this.#pick([...this.cluster.agents.values()].filter(({ isDisowned }) => !isDisowned));
    if (!agent) return;
    await this.cluster.removeNode(agent);
    await this.cluster.addNode();
  }

  #killHost(): void {
    const agent = this.#pick(this.#hosts());
    if (!agent) return;
    agent.powerOff();
    this.#mendAfter(2_000, 40_000, () => agent.powerOn());
  }

  #cutHost(): void {
    const agent = this.#pick(this.#hosts());
    if (!agent) return;
    agent.cut();
    this.#mendAfter(500, 30_000, () => agent.heal());
  }

  #pauseManager(): void {
    this.#pause(this.#pick(this.#answering()));
  }

  #pauseLeader(): void {
    this.#pause(this.#answering().find(({ leads }) => leads));
  }

  #pause(manager: SimManager | undefined): void {
    // One of them must be left to answer.
    if (!manager || this.#answering().length < 2) return;
    manager.pause();
    this.#mendAfter(500, 15_000, () => manager.resume());
  }

  async #killManager(): Promise<void> {
    const manager = this.#pick(this.#answering());
    if (!manager) return;
    this.cluster.forgetManager(manager);
    manager.kill();
    await this.cluster.addManager();
  }

  #troubleStore(): void {
    this.cluster.storeTrouble = 0.3;
    this.#mendAfter(100, 3_000, () => {
      this.cluster.storeTrouble = 0;
    });
  }

  #mendAfter(lowMs: number, highMs: number, mend: () => void): void {
    this.#mends.push(mend);
    this.cluster.clock.after(lowMs + this.random.next() * (highMs - lowMs), () => {
      if (!this.#isOver) mend();
    });
  }

  #hosts(): SimAgent[] {
    return [...this.cluster.agents.values()].filter(({ isOn, isRemoved }) => isOn && !isRemoved);
  }

  #answering(): SimManager[] {
    return this.cluster.managers.filter(({ isAnswering }) => isAnswering);
  }

  #pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.random.next() * items.length)];
  }
}
