import { mkdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Clock, delay, type Logger, type Random } from '@tessera/shared/env';
import { ClusterError, errorText } from '@tessera/shared/errors';
import { isAlive, type ProcessIdentity } from '@tessera/shared/process';
import { EtcdKv } from '../store/kv/etcd-kv.js';
import { findEtcd, forgetPid, logFile, noteServing, signalEtcd, spawnEtcd } from './etcd-process.js';
import { clientEndpoint, type MemberOptions, QUOTA_BYTES } from './flags.js';
import { SpaceKeeper } from './space-keeper.js';

export interface EtcdSupervisorOptions extends MemberOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The program, and whatever it is run by. */
  readonly command?: readonly string[];
  /** How often the database's size is looked at. */
  readonly spaceEveryMs?: number;
}

/** Debian's etcd-server. */
const ETCD = ['/usr/bin/etcd'];
const READY_WITHIN_MS = 60_000;
const STOP_WITHIN_MS = 10_000;
const LOOK_EVERY_MS = 500;
const BACKOFF_MIN_MS = 100;
const BACKOFF_MAX_MS = 10_000;
/** An etcd that ran this long is not one that fails to start. */
const STEADY_AFTER_MS = 30_000;
const LOG_BYTES_MAX = 16 * 2 ** 20;

/**
 * Keeps this manager's etcd running: takes over the one that a killed manager left, starts one where there is
 * none, starts it again, ever more slowly, when it dies, and looks after its space.
 */
export class EtcdSupervisor {
  #process: ProcessIdentity | undefined;
  #startedAtMs = 0;
  #backoffMs = BACKOFF_MIN_MS;
  readonly #closing = new AbortController();
  /** Ends the wait before the next look. */
  #look = () => {};
  #spawnError = '';
  #watching: Promise<void> | undefined;
  #keeping: Promise<void> | undefined;

  constructor(private readonly options: EtcdSupervisorOptions) {}

  /** Where a client reaches it. */
  get endpoint(): string {
    return clientEndpoint(this.options.runDir);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /**
   * Resolves once etcd serves reads.
   *
   * @throws ClusterError `unavailable` when it does not within a minute, with the end of its log
   */
  async start(): Promise<void> {
    const { dataDir, runDir, clock } = this.options;
    for (const directory of [dirname(dataDir), runDir])
      mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (this.endpoint.length - 'unix:'.length > 107)
      throw new ClusterError('invalidArgument', `run directory ${runDir}: its path is too long for a socket`);
    this.#process = findEtcd(this.options);
    this.#startedAtMs = clock.monotonic();
    if (this.#process) this.options.logger.info({ pid: this.#process.pid }, 'took over a running etcd');
    this.#watching = this.#watch();
    await this.#ready();
    noteServing(dataDir);
    this.#keeping = this.#keepSpace();
  }

  /** Leaves etcd running and looks after it no more. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#look();
    await Promise.all([this.#watching, this.#keeping]);
  }

  /** Ends etcd, by force if it does not end by itself. Its data stays. */
  async stop(): Promise<void> {
    await this.close();
    const { clock, runDir } = this.options;
    const etcd = this.#process;
    if (etcd) {
      signalEtcd(etcd, 'SIGTERM');
      const forceAtMs = clock.monotonic() + STOP_WITHIN_MS;
      while (isAlive(etcd)) {
        if (clock.monotonic() > forceAtMs) signalEtcd(etcd, 'SIGKILL');
        await delay(clock, 20);
      }
    }
    this.#process = undefined;
    forgetPid(runDir);
  }

  /** Ends etcd and deletes its data: this manager leaves its cluster. */
  async remove(): Promise<void> {
    await this.stop();
    const { dataDir, runDir } = this.options;
    noteServing(dataDir);
    for (const path of [dataDir, logFile(dataDir), runDir]) rmSync(path, { recursive: true, force: true });
  }

  /** One look after another: start what is not there. */
  async #watch(): Promise<void> {
    const { clock, logger } = this.options;
    for (let started = this.#process !== undefined; !this.#closing.signal.aborted; started = true) {
      if (this.#process && isAlive(this.#process)) {
        if (clock.monotonic() - this.#startedAtMs > STEADY_AFTER_MS) this.#backoffMs = BACKOFF_MIN_MS;
        this.#boundLog();
        await this.#wait(LOOK_EVERY_MS);
        continue;
      }
      if (started) {
        logger.warn({ pid: this.#process?.pid, log: this.#logEnd() }, 'etcd ended: starting it again');
        await this.#wait(this.#backoffMs);
        this.#backoffMs = Math.min(this.#backoffMs * 2, BACKOFF_MAX_MS);
        if (this.#closing.signal.aborted) return;
      }
      await this.#spawn();
    }
  }

  async #spawn(): Promise<void> {
    const { clock, logger, command = ETCD } = this.options;
    try {
      this.#process = await spawnEtcd(command, this.options, () => this.#look());
      this.#startedAtMs = clock.monotonic();
      this.#spawnError = '';
      logger.info({ pid: this.#process?.pid }, 'etcd started');
    } catch (error) {
      this.#spawnError = errorText(error);
      logger.error({ error }, `cannot run ${command[0]}: is the package etcd-server installed?`);
      await this.#wait(BACKOFF_MAX_MS);
    }
  }

  /** Until the time is up, etcd's exit is seen, or this supervisor is closed. */
  #wait(timeMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.options.clock.after(timeMs, resolve);
      this.#look = () => {
        cancel();
        resolve();
      };
    });
  }

  async #keepSpace(): Promise<void> {
    const { clock, logger, quotaBytes = QUOTA_BYTES, spaceEveryMs } = this.options;
    const kv = this.#connect();
    const { signal } = this.#closing;
    const every = spaceEveryMs === undefined ? {} : { everyMs: spaceEveryMs };
    try {
      await new SpaceKeeper(kv, { clock, logger, quotaBytes, signal, ...every }).run();
    } finally {
      kv.close();
    }
  }

  #connect(): EtcdKv {
    return new EtcdKv(this.options, { endpoints: [this.endpoint], callTimeoutMs: 2_000 });
  }

  async #ready(): Promise<void> {
    const { clock } = this.options;
    const kv = this.#connect();
    const untilMs = clock.monotonic() + READY_WITHIN_MS;
    try {
      for (;;) {
        try {
          await kv.range({ key: '/', keysOnly: true });
          return;
        } catch (error) {
          if (clock.monotonic() > untilMs || this.#closing.signal.aborted) throw this.#notReady(error);
        }
        await delay(clock, 50);
      }
    } finally {
      kv.close();
    }
  }

  #notReady(error: unknown): ClusterError {
    const { dataDir } = this.options;
    const end = this.#spawnError || this.#logEnd();
    const message = `etcd does not serve (${errorText(error)}); see ${logFile(dataDir)}${end && `: ${end}`}`;
    return new ClusterError('unavailable', message, { cause: error });
  }

  #logEnd(): string {
    try {
      return readFileSync(logFile(this.options.dataDir), 'utf8').trimEnd().split('\n').at(-1)!.slice(0, 500);
    } catch {
      return '';
    }
  }

  /** etcd appends to its log for as long as it runs, so the file can be cut under it. */
  #boundLog(): void {
    const path = logFile(this.options.dataDir);
    try {
      if (statSync(path).size > LOG_BYTES_MAX) truncateSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
