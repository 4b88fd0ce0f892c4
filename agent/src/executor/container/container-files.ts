import { type FilesOf, withProcess } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import type { CgroupDriver } from './cgroups/index.js';
import type { Container } from './container.js';
import { FilesLock } from './files-lock.js';
import type { Freezer } from './freezer.js';

export interface ContainerFilesOptions {
  readonly id: string;
  readonly cgroups: CgroupDriver;
  readonly freezer: Freezer;
  /** The run under way. */
  readonly running: () => Container | undefined;
}

/**
 * Keeps apart who works on a container's files and who starts it. While it runs, its own mounts are shared with it;
 * otherwise its root is mounted for one at a time, since two mounts of one overlay's files are undefined. So a start
 * waits until whoever is there has done, as with Docker.
 */
export class ContainerFiles {
  readonly #lock = new FilesLock();
  readonly #freezing = new FilesLock();
  readonly #gone = new AbortController();

  constructor(private readonly options: ContainerFilesOptions) {}

  /** @param spec the container's, compiled. `work` must be done with the files when it returns. */
  async use<T>(
    spec: Uint8Array,
    work: (files: FilesOf, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const both = AbortSignal.any([signal, this.#gone.signal]);
    for (;;) {
      const run = this.options.running();
      const release = await this.#lock.acquire(run ? 'shared' : 'exclusive', both);
      try {
        // It may have started or ended while we waited.
        if (this.options.running() !== run) continue;
        return run ? await this.#useRunning(run, spec, work, both) : await work({ spec }, both);
      } finally {
        release();
      }
    }
  }

  /** Waits until nobody is at the files, and keeps them away until what it returns is called. */
  beforeStart(signal: AbortSignal): Promise<() => void> {
    return this.#lock.acquire('exclusive', signal);
  }

  /** Sends away who is at the files of a container that is being removed. */
  async close(): Promise<void> {
    this.#gone.abort(new ClusterError('notFound', `No such container: ${this.options.id}`));
    (await this.#lock.acquire('exclusive', new AbortController().signal))();
  }

  /** Does something while nothing of it runs. */
  async whileFrozen<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { freezer, running } = this.options;
    const release = await this.#freezing.acquire('exclusive', signal);
    try {
      if (!running()) return await work();
      await freezer.freeze('look');
      try {
        return await work();
      } finally {
        await freezer.thaw('look');
      }
    } finally {
      release();
    }
  }

  #useRunning<T>(
    run: Container,
    spec: Uint8Array,
    work: (files: FilesOf, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const { life } = run;
    const pid = life.kind === 'running' ? life.pid : 0;
    const isOurs = async () => (await this.options.cgroups.processes(this.options.id)).includes(pid);
    return withProcess(pid, isOurs, (processFd) => work({ spec, processFd }, signal));
  }
}
