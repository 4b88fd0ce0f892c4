import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { isAlive, type ProcessIdentity, processIdentity, readLivePidFile } from '@tessera/shared/process';

const WATCH_PERIOD_MS = 250;
const READY_PERIOD_MS = 30;
const RESTART_MIN_MS = 200;
const RESTART_MAX_MS = 10_000;
/** A manager that has run this long is started again at once: its death is not about how it starts. */
const SETTLED_MS = 30_000;
const STOP_GRACE_MS = 10_000;

export interface ManagerSupervisorOptions {
  /** `<tsd's data-dir>/manager`. */
  readonly dataDir: string;
  readonly runDir: string;
  /** Starts a process in a session of its own that outlives us, its output appended to `outputFd`. */
  readonly spawn: (args: readonly string[], outputFd: number) => Promise<number>;
  /** Whether the manager's API answers at the API socket. */
  readonly isReady: () => Promise<boolean>;
  /** Called whenever the manager has come up or gone. */
  readonly onChange: (up: boolean) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Keeps this node's manager running: starts it, adopts it after our own restart, starts it again when it dies. */
export class ManagerSupervisor {
  readonly #stopping = new AbortController();
  #done: Promise<void> | undefined;
  #process: ProcessIdentity | undefined;
  #lastFailure: string | undefined;
  #up = false;

  constructor(private readonly options: ManagerSupervisorOptions) {}

  get #pidFile(): string {
    return join(this.options.runDir, 'manager.pid');
  }

  /** Whether a manager runs, ready or not. */
  get running(): boolean {
    return readLivePidFile(this.#pidFile) !== undefined;
  }

  /** @param args the manager's command line, for this start and every later one */
  start(args: readonly string[]): void {
    this.#done = this.#run(args);
  }

  /**
   * Resolves once the manager serves the API.
   * @throws ClusterError `failedPrecondition` with the manager's own last words when it died first
   */
  async ready(signal: AbortSignal): Promise<void> {
    while (!this.#up) {
      if (this.#lastFailure !== undefined)
        throw new ClusterError('failedPrecondition', `the manager could not start: ${this.#lastFailure}`);
      await delay(this.options.clock, READY_PERIOD_MS, signal);
    }
  }

  /** Lets the manager run on without us. */
  async release(): Promise<void> {
    this.#stopping.abort(new DOMException('no longer supervised', 'AbortError'));
    await this.#done;
  }

  /** Ends the manager and what it has started, for good. */
  async stop(): Promise<void> {
    await this.release();
    const manager = this.#process ?? readLivePidFile(this.#pidFile);
    if (manager) await this.#end(manager);
    // etcd outlives a manager that is only restarted; a node that leaves takes it along.
    for (const process of this.#helpers()) await this.#end(process);
    rmSync(this.#pidFile, { force: true });
  }

  async #run(args: readonly string[]): Promise<void> {
    const { clock, logger } = this.options;
    const signal = this.#stopping.signal;
    let restartMs = RESTART_MIN_MS;
    while (!signal.aborted) {
      const sinceMs = clock.monotonic();
      try {
        this.#process = readLivePidFile(this.#pidFile) ?? (await this.#spawn(args));
        await this.#watch(this.#process, signal);
        if (signal.aborted) return;
        this.#lastFailure = lastWords(this.#logFile);
        logger.warn({ pid: this.#process.pid, reason: this.#lastFailure }, 'the manager has died');
      } catch (error) {
        if (signal.aborted) return;
        this.#lastFailure = (error as Error).message;
        logger.error({ error }, 'the manager could not be started');
      }
      this.#process = undefined;
      this.#setUp(false);
      if (clock.monotonic() - sinceMs > SETTLED_MS) restartMs = RESTART_MIN_MS;
      await delay(clock, restartMs, signal).catch(() => undefined);
      restartMs = Math.min(restartMs * 2, RESTART_MAX_MS);
    }
  }

  get #logFile(): string {
    return join(this.options.dataDir, 'manager.log');
  }

  async #spawn(args: readonly string[]): Promise<ProcessIdentity> {
    mkdirSync(this.options.dataDir, { recursive: true, mode: 0o700 });
    const output = openSync(this.#logFile, 'a', 0o600);
    try {
      const pid = await this.options.spawn(args, output);
      const identity = processIdentity(pid);
      if (!identity) throw new ClusterError('internal', lastWords(this.#logFile));
      this.options.logger.info({ pid }, 'manager started');
      return identity;
    } finally {
      closeSync(output);
    }
  }

  /** Resolves when the process has ended. */
  async #watch(process: ProcessIdentity, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && isAlive(process)) {
      if (!this.#up && (await this.options.isReady())) {
        this.#lastFailure = undefined;
        this.#setUp(true);
      }
      await delay(this.options.clock, this.#up ? WATCH_PERIOD_MS : READY_PERIOD_MS, signal).catch(
        () => undefined,
      );
    }
  }

  #setUp(up: boolean): void {
    if (this.#up === up) return;
    this.#up = up;
    this.options.onChange(up);
  }

  /** What the manager keeps running beside itself, by the pid files it leaves. */
  #helpers(): ProcessIdentity[] {
    const { dataDir, runDir } = this.options;
    return [dataDir, runDir, join(runDir, 'etcd')].flatMap((dir) =>
      (existsSync(dir) ? readdirSync(dir) : [])
        .filter((name) => name.endsWith('.pid') && name !== 'tsd.pid')
        .flatMap((name) => readLivePidFile(join(dir, name)) ?? []),
    );
  }

  async #end(identity: ProcessIdentity): Promise<void> {
    const { clock } = this.options;
    const deadlineMs = clock.monotonic() + STOP_GRACE_MS;
    signalIfAlive(identity, 'SIGTERM');
    while (isAlive(identity)) {
      if (clock.monotonic() > deadlineMs) signalIfAlive(identity, 'SIGKILL');
      await delay(clock, READY_PERIOD_MS);
    }
  }
}

function signalIfAlive(identity: ProcessIdentity, name: NodeJS.Signals): void {
  try {
    if (isAlive(identity)) process.kill(identity.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The message of the last line of a log of JSON lines, or that line as it is. */
export function lastWords(path: string): string {
  if (!existsSync(path) || statSync(path).size === 0) return 'it left no message';
  const line = readFileSync(path, 'utf8').trimEnd().split('\n').at(-1) ?? '';
  try {
    const { msg, error } = JSON.parse(line) as { msg?: string; error?: { message?: string } };
    return [msg, error?.message].filter(Boolean).join(': ') || line;
  } catch {
    return line;
  }
}
