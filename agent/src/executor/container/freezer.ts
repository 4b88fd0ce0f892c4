import type { CgroupDriver } from './cgroups/index.js';
import { readHold, removeHold, writeHold } from './container-record.js';

/** Why a container's processes stand still: its user has paused it, or somebody looks at its files. */
type Reason = 'pause' | 'look';

export interface FreezerOptions {
  readonly id: string;
  readonly runDir: string;
  readonly cgroups: CgroupDriver;
  readonly isRunning: () => boolean;
}

/**
 * Freezes a container's processes for as long as there is a reason. What is frozen for a look alone is noted in its run
 * directory, so that the next agent lets it go on if this one dies.
 */
export class Freezer {
  #reasons: ReadonlySet<Reason> = new Set();
  /** One change after the other: a pause and the end of a look may come together. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: FreezerOptions) {}

  get isPaused(): boolean {
    return this.#reasons.has('pause');
  }

  /** Of a run that an earlier agent began. */
  async adopt(): Promise<void> {
    const { id, runDir, cgroups } = this.options;
    if (await readHold(runDir)) {
      await cgroups.thaw(id);
      await removeHold(runDir);
    } else if (await cgroups.isFrozen(id)) {
      this.#reasons = new Set(['pause']);
    }
  }

  /** @throws ClusterError `failedPrecondition` where it cannot be frozen */
  freeze(reason: Reason): Promise<void> {
    return this.#change((reasons) => new Set([...reasons, reason]));
  }

  /** It goes on, unless there is another reason. */
  thaw(reason: Reason): Promise<void> {
    return this.#change((reasons) => new Set([...reasons].filter((other) => other !== reason)));
  }

  /** It goes on, since it is to end: a frozen process takes no signal. */
  release(): Promise<void> {
    return this.#change(() => new Set());
  }

  /** Another run begins. */
  forget(): void {
    this.#reasons = new Set();
  }

  #change(change: (reasons: ReadonlySet<Reason>) => ReadonlySet<Reason>): Promise<void> {
    const mine = this.#turn.then(() => this.#apply(change(this.#reasons)));
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #apply(next: ReadonlySet<Reason>): Promise<void> {
    const { id, runDir, cgroups, isRunning } = this.options;
    const before = this.#reasons;
    if (next.size === 0 && before.size === 0) return;
    const isNoted = next.has('look') && !next.has('pause');
    // Before it is frozen, and away again only when it is not, or for its user.
    if (isNoted) await writeHold(runDir);
    try {
      if (next.size > 0 && before.size === 0) await cgroups.freeze(id);
      if (next.size === 0)
        await cgroups.thaw(id).catch((error: unknown) => {
          if (isRunning()) throw error; // else it has just ended, and its group is gone
        });
      this.#reasons = next;
    } finally {
      if (!isNoted || this.#reasons !== next) await removeHold(runDir);
    }
  }
}
