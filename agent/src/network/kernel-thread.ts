import { Worker } from 'node:worker_threads';
import { ClusterError, type ErrorKind } from '@tessera/shared/errors';
import type { HostKernel } from './host-kernel.js';
import type { HostOptions } from './kernel-types.js';

/** The same methods, answered by the thread. */
export type Remote<T> = {
  readonly [K in keyof T]: T[K] extends (...args: infer A) => infer R ? (...args: A) => Promise<R> : never;
};

export type RemoteHostKernel = Remote<Omit<HostKernel, 'constructor'>>;

export interface Request {
  readonly id: number;
  readonly host: number;
  /** `open` makes the host. */
  readonly method: keyof HostKernel | 'open';
  readonly args: readonly unknown[];
}

export interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: { readonly kind: ErrorKind; readonly message: string };
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The one thread that talks netlink and nftables, so that a call of tens of milliseconds never holds up the agent.
 * Calls are answered in order. It may serve several hosts, each a set of namespaces: tests and benches have two.
 */
export class KernelThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #hosts = 0;
  /** Why no call is answered any more. */
  #ended: Error | undefined;

  constructor() {
    this.#worker = startWorker();
    this.#worker.on('message', (answer: Answer) => this.#settle(answer));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () =>
      this.#fail(new ClusterError('unavailable', 'the network thread has ended')),
    );
    // Only calls under way keep the process.
    this.#worker.unref();
  }

  /** Opens a host's namespaces, making the fabric where there is none. */
  async openHost(options: HostOptions): Promise<RemoteHostKernel> {
    const host = ++this.#hosts;
    await this.#call({ host, method: 'open', args: [options] });
    return new Proxy({} as RemoteHostKernel, {
      get: (_, method) =>
        // A promise resolving with the proxy asks it for `then`.
        method === 'then' || typeof method !== 'string'
          ? undefined
          : (...args: unknown[]) => this.#call({ host, method: method as keyof HostKernel, args }),
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #call(request: Omit<Request, 'id'>): Promise<unknown> {
    if (this.#ended) return Promise.reject(this.#ended);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ ...request, id });
    });
  }

  #settle({ id, value, error }: Answer): void {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (this.#pending.size === 0) this.#worker.unref();
    if (error) pending?.reject(new ClusterError(error.kind, error.message));
    else pending?.resolve(value);
  }

  #fail(error: Error): void {
    this.#ended ??= error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }
}

function startWorker(): Worker {
  const script = './kernel-thread-main';
  // Its descriptors are the native library's, which Node knows nothing of.
  const options = { trackUnmanagedFds: false };
  if (!import.meta.url.endsWith('.ts')) return new Worker(new URL(`${script}.js`, import.meta.url), options);
  // Beside the sources, in tests, there is only TypeScript, which the thread needs a loader for.
  const source = JSON.stringify(new URL(`${script}.ts`, import.meta.url).href);
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return new Worker(`import(${loader}).then(({ register }) => { register(); return import(${source}); })`, {
    ...options,
    eval: true,
    execArgv: ['--conditions', 'tessera-source'],
  });
}
