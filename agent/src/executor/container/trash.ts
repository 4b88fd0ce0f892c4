import { mkdir, readdir } from 'node:fs/promises';
import { clear, discardContainer } from '@tessera/native';
import type { Clock, Logger } from '@tessera/shared/env';

/** Discarded directories that may wait; who discards more waits too. */
const WAITING_MAX = 256;

/**
 * Long enough for the kernel to be done with a container's mounts, which it unmounts after its last process has ended:
 * deleting directories that an overlay still holds takes four times as long.
 */
const SETTLE_MS = 50;

/**
 * Where containers' directories go: out of their place in one rename, then deleted one after the other behind the
 * scenes.
 */
export class Trash {
  readonly #waiting: string[] = [];
  #work: Promise<void> | undefined;
  #cancelTimer: (() => void) | undefined;
  #hasRoom: (() => void)[] = [];

  private constructor(
    private readonly dir: string,
    private readonly clock: Clock,
    private readonly logger: Logger,
  ) {}

  /** Opens the directory, and goes on with what an earlier agent left in it. */
  static async open(dir: string, clock: Clock, logger: Logger): Promise<Trash> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const trash = new Trash(dir, clock, logger);
    for (const name of await readdir(dir)) trash.#add(`${dir}/${name}`);
    return trash;
  }

  /** When this resolves, both directories are gone from their places. May be repeated. */
  async discard(id: string, runDir: string, dataDir: string): Promise<void> {
    const path = `${this.dir}/${id}`;
    await discardContainer(runDir, dataDir, path);
    this.#add(path);
    if (this.#waiting.length > WAITING_MAX) await new Promise<void>((resolve) => this.#hasRoom.push(resolve));
  }

  /** Deletes everything discarded so far, and resolves when that is done. */
  async idle(): Promise<void> {
    this.#cancelTimer?.();
    this.#start();
    await this.#work;
  }

  #add(path: string): void {
    this.#waiting.push(path);
    if (!this.#work) this.#cancelTimer ??= this.clock.after(SETTLE_MS, () => this.#start());
  }

  #start(): void {
    this.#cancelTimer = undefined;
    this.#work ??= this.#run();
  }

  async #run(): Promise<void> {
    for (let path = this.#waiting.shift(); path !== undefined; path = this.#waiting.shift()) {
      await clear([], [path]).catch((error: unknown) => {
        // Tried again at the next start.
        this.logger.warn({ error, path }, 'a discarded container cannot be deleted');
      });
      for (const resolve of this.#hasRoom.splice(0)) resolve();
    }
    this.#work = undefined;
  }
}
