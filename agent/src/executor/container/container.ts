import { type Attachment, clear, Shim, type ShimExit } from '@tessera/native';
import type { Clock, Logger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { ExitStatus } from '../executor.js';
import type { CgroupDriver } from './cgroups/index.js';
import { ContainerExecs } from './container-execs.js';
import { type ContainerRecord, readExit, readRun, writeExit } from './container-record.js';
import type { ShimReserve } from './shim-reserve.js';
import { startError } from './start-error.js';
import type { Trash } from './trash.js';

export interface ContainerHost {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly cgroups: CgroupDriver;
  readonly bootId: string;
  readonly trash: Trash;
  readonly shims: ShimReserve;
  /** The agent's own permitted capabilities. */
  readonly capabilities: bigint;
  /** Whether the kernel has AppArmor switched on. */
  readonly apparmor: boolean;
  readonly newId: () => string;
}

type Life =
  | { readonly kind: 'prepared'; readonly shim?: Promise<Shim> }
  | { readonly kind: 'starting' }
  | { readonly kind: 'running'; readonly shim: Shim; readonly pid: number; readonly startedAtMs: number }
  | { readonly kind: 'ended'; readonly status: ExitStatus; readonly startedAtMs: number };

/** How long a shim may take to answer an agent that has just started, among hundreds and under full load. */
const ANSWER_MS = 60_000;

const LOST: Omit<ExitStatus, 'finishedAtMs'> = { exitCode: 137, oomKilled: false, error: 'shim lost' };
const RESTARTED: Omit<ExitStatus, 'finishedAtMs'> = {
  exitCode: 255,
  oomKilled: false,
  error: 'host was restarted',
};

/** One container on this host, from its directories to its removal. It is started at most once. */
export class Container {
  #life: Life = { kind: 'prepared' };
  #settleEnd!: (status: ExitStatus) => void;
  #settleClosed!: () => void;
  /** Settles when the shim's process is gone and let go of. */
  #shimGone: Promise<void> = Promise.resolve();
  /** Settles when a container that has run has ended. */
  readonly ended: Promise<ExitStatus>;
  /** Settles when nothing more will be logged: it has ended, or was removed. */
  readonly closed: Promise<void>;
  isClosed = false;
  readonly execs: ContainerExecs;
  readonly #attachments = new Set<Attachment>();
  /** What is done between the shim's first word and the command: attaching, the terminal's size. */
  readonly #beforeGo: ((shim: Shim | undefined) => Promise<void>)[] = [];

  constructor(
    private readonly host: ContainerHost,
    readonly record: ContainerRecord,
    readonly dataDir: string,
    readonly runDir: string,
  ) {
    this.execs = new ContainerExecs({
      runDir,
      hostCapabilities: host.capabilities,
      apparmor: host.apparmor,
      newId: host.newId,
      shim: async () => {
        await this.refusePaused('exec');
        return this.runningShim('exec');
      },
    });
    this.ended = new Promise((resolve) => {
      this.#settleEnd = resolve;
    });
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  get id(): string {
    return this.record.id;
  }

  get life(): Life {
    return this.#life;
  }

  /** Starts the shim, which then waits: this takes longer than all that is to be done before the start. */
  warmUp(): void {
    if (this.#life.kind !== 'prepared' || this.#life.shim) return;
    const shim = this.host.shims.take();
    shim.catch(() => {}); // the start tells
    this.#life = { kind: 'prepared', shim };
  }

  /**
   * Runs the command. `attach` joins the namespaces of the given pid to their networks meanwhile.
   *
   * @throws StartError when the command cannot be executed; nothing is left running then
   */
  async start(spec: Buffer, attach: (pid: number) => Promise<void>, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const waiting = this.#life.kind === 'prepared' ? this.#life.shim : undefined;
    this.#life = { kind: 'starting' };
    const shim = await (waiting ?? this.host.shims.take());
    const onAbort = () => shim.kill();
    signal.addEventListener('abort', onAbort, { once: true });
    let isLeaving = false;
    try {
      shim.begin(spec);
      const pid = await shim.created;
      if (pid !== undefined) {
        const attached = attach(pid).catch((error: unknown) => this.#attachFailed(shim, error));
        await Promise.all([attached, this.#prepareGo(shim)]);
        // The outcome tells why, should the process have ended meanwhile.
        void shim.go().catch(() => {});
      }
      const outcome = await shim.outcome;
      isLeaving = outcome.kind === 'failed';
      if (outcome.kind === 'failed') throw startError(outcome.failure);
      if (outcome.kind === 'lost')
        throw startError({ stage: 'DIED', errno: 0, detail: signal.aborted ? 'aborted' : '' });
      // One that joins another's pid namespace is made last of all.
      this.#run(shim, outcome.pid ?? pid!, outcome.atMs);
    } catch (error) {
      this.#life = { kind: 'prepared' };
      await this.#prepareGo(undefined);
      await this.#abandon(shim, isLeaving);
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Does something before the command can run; with undefined when it will not. */
  beforeGo(work: (shim: Shim | undefined) => Promise<void>): void {
    this.#beforeGo.push(work);
  }

  /** Its shim waits for nobody long once it has ended: what it still holds for an attachment is taken then. */
  serveAtEnd(attachment: Attachment): void {
    if (this.#life.kind === 'ended') attachment.takeAll();
    this.#attachments.add(attachment);
    void attachment.ended.then(() => this.#attachments.delete(attachment));
  }

  async #prepareGo(shim: Shim | undefined): Promise<void> {
    const works = this.#beforeGo.splice(0);
    if (works.length === 0) return;
    await shim?.listening().catch(() => {}); // the outcome tells
    await Promise.all(works.map((work) => work(shim)));
  }

  /** @throws ClusterError `conflict` when it does not run, `failedPrecondition` when its shim cannot do this */
  runningShim(what: string): Shim {
    if (this.#life.kind !== 'running')
      throw new ClusterError('conflict', `container ${this.id} is not running`);
    this.#life.shim.require(what);
    return this.#life.shim;
  }

  /** @throws ClusterError `conflict` */
  async refusePaused(what: string): Promise<void> {
    if (await this.host.cgroups.isFrozen(this.id))
      throw new ClusterError(
        'conflict',
        `container ${this.id} is paused, unpause the container before ${what}`,
      );
  }

  /** Its process got as far as it could meanwhile: where that failed, its namespaces went, and that is the reason. */
  async #attachFailed(shim: Shim, error: unknown): Promise<never> {
    await shim.signal(9).catch(() => {});
    const outcome = await shim.outcome;
    if (outcome.kind === 'failed' && outcome.failure.stage !== 'DIED') throw startError(outcome.failure);
    throw error;
  }

  /**
   * A shim that will not run the command: it and its process go. One that has said so itself clears up, lets those who
   * are attached read, and goes.
   */
  async #abandon(shim: Shim, isLeaving = false): Promise<void> {
    if (!isLeaving) shim.kill();
    await shim.ended();
    shim.release();
    await this.host.cgroups.kill(this.id);
  }

  /** Lets go of a shim that waits for a start which does not come. */
  async discard(): Promise<void> {
    if (this.#life.kind !== 'prepared' || !this.#life.shim) return;
    const shim = await this.#life.shim.catch(() => undefined);
    this.#life = { kind: 'prepared' };
    if (shim) await this.#abandon(shim);
  }

  #run(shim: Shim, pid: number, startedAtMs: number): void {
    this.#life = { kind: 'running', shim, pid, startedAtMs };
    void this.#follow(shim, startedAtMs);
  }

  async #follow(shim: Shim, startedAtMs: number): Promise<void> {
    const exit = await shim.exited;
    // It still clears up behind its container; only the removal has to wait for that.
    this.#shimGone = shim.ended().then(() => shim.release());
    const status = exit ? fromShim(exit) : await this.#afterLoss();
    this.#end(status, startedAtMs);
  }

  /** The shim went without a word: what it last wrote counts, else its container must go too. */
  async #afterLoss(): Promise<ExitStatus> {
    await this.#shimGone;
    return (await readExit(this.dataDir)) ?? (await this.#declareLost());
  }

  async #declareLost(): Promise<ExitStatus> {
    this.host.logger.warn({ 'container.id': this.id }, 'shim lost: killing what is left of its container');
    await this.host.cgroups.kill(this.id);
    return this.#declare(LOST);
  }

  async #declare(status: Omit<ExitStatus, 'finishedAtMs'>): Promise<ExitStatus> {
    const whole = { ...status, finishedAtMs: this.host.clock.now() };
    await writeExit(this.dataDir, whole);
    return whole;
  }

  /**
   * Finds out what became of a container that an earlier agent made: it runs on and is followed again, it has
   * ended, or it never ran (and then counts as prepared only by name: its directories are to be cleared).
   */
  async adopt(): Promise<void> {
    const run = await readRun(this.runDir);
    const exit = await readExit(this.dataDir);
    if (exit) {
      await this.execs.adopt(undefined);
      return this.#end(exit, run?.startedAtMs ?? 0);
    }
    if (this.record.bootId !== this.host.bootId)
      return this.#end(await this.#declare(RESTARTED), run?.startedAtMs ?? 0);

    const found = await this.#findShim();
    if (found?.state.state === 'running') {
      // Its run record is written right after the start; until then its own time is the best there is.
      const startedAtMs =
        run?.startedAtMs ?? (await readRun(this.runDir))?.startedAtMs ?? this.host.clock.now();
      await this.execs.adopt(found.shim);
      return this.#run(found.shim, found.state.pid, startedAtMs);
    }
    if (found) {
      // It waits for a word that nobody will give, or is just ending: both end with our letting go.
      if (found.state.state === 'created') found.shim.kill();
      await found.shim.ended();
      found.shim.release();
    }
    // It may have ended between our reading and our knocking.
    const late = await readExit(this.dataDir);
    const ran = run ?? (await readRun(this.runDir));
    if (late) return this.#end(late, ran?.startedAtMs ?? 0);
    if (ran) return this.#end(await this.#declareLost(), ran.startedAtMs);
    await this.host.cgroups.kill(this.id);
  }

  /** Undefined when there is none, or it does not answer for so long that it counts as lost. */
  async #findShim() {
    const patience = new AbortController();
    const cancel = this.host.clock.after(ANSWER_MS, () => patience.abort());
    try {
      return await Shim.connect(this.runDir, patience.signal);
    } catch {
      return undefined;
    } finally {
      cancel();
    }
  }

  #end(status: ExitStatus, startedAtMs: number): void {
    this.#life = { kind: 'ended', status, startedAtMs };
    this.execs.end();
    for (const attachment of this.#attachments) attachment.takeAll();
    this.#settleEnd(status);
    this.#close();
  }

  #close(): void {
    this.isClosed = true;
    this.#settleClosed();
  }

  /** Signals the first process. One that has ended is fine. */
  async signal(number: number): Promise<void> {
    if (this.#life.kind === 'running') await this.#life.shim.signal(number).catch(() => {});
  }

  /** Resolves once its shim, which still clears up behind an ended container, is gone too. */
  async gone(): Promise<void> {
    await this.#shimGone;
  }

  /** Takes everything of it off this host, running or not. May be repeated. */
  async remove(): Promise<void> {
    if (this.#life.kind === 'running') {
      await this.signal(9);
      await this.ended;
    } else await this.discard();
    await this.#prepareGo(undefined);
    // The shim, if it has just ended, removes the groups meanwhile: whoever is first, they go once.
    await Promise.all([
      this.host.trash.discard(this.id, this.runDir, this.dataDir),
      clear(this.host.cgroups.paths(this.id), []),
      this.#shimGone,
    ]);
    this.#close();
  }
}

const fromShim = ({ exitCode, oomKilled, atMs }: ShimExit): ExitStatus => ({
  exitCode,
  oomKilled,
  finishedAtMs: Math.round(atMs),
});
