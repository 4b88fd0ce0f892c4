import { close as closeCallback, read as readCallback } from 'node:fs';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { ClusterError, isErrorKind } from '@tessera/shared/errors';
import koffi from 'koffi';
import { artefactPath, call, declare } from './library.js';

const read = promisify(readCallback);
const close = promisify(closeCallback);

/** Longer ones are cut: a path escaped, and room to spare. */
const LINE_BYTES_MAX = 64 * 1024;
const NONE = -1;
const PIPE = -2;

/** What a helper's report says, one line. Whoever wrote it had read foreign bytes: nothing in it is taken on trust. */
export type ReportLine = Readonly<Record<string, unknown>>;

export interface HelperOptions {
  /** Without the program's name; `--parent` is added. */
  readonly arguments: readonly string[];
  /** A descriptor that is read from where it stands, or what is piped in; undefined: nothing. */
  readonly input?: number | AsyncIterable<Uint8Array>;
  /** A descriptor that is written to, or `pipe`: read what it makes by `output`. */
  readonly output?: number | 'pipe';
  readonly spec?: Uint8Array;
  /** A pidfd. It is the caller's. */
  readonly processFd?: number;
}

/**
 * One run of a confined program (`ts-unpack`, `ts-archive`) that works on foreign files. It ends with our process, and
 * when its signal says so.
 */
export class Helper {
  readonly #pidfd: number;
  readonly #reports: AsyncGenerator<ReportLine>;
  readonly #ended = new AbortController();
  readonly #exited: Promise<void>;
  readonly #feeding: Promise<void>;
  readonly #output: Socket | undefined;
  readonly #onAbort: () => void;
  #fault: { readonly error: unknown } | undefined;
  #finishing: Promise<ReportLine> | undefined;
  #isClosed = false;

  /** On the calling thread: the program is told to end with the thread that started it. */
  constructor(
    private readonly program: string,
    options: HelperOptions,
    private readonly signal: AbortSignal,
  ) {
    signal.throwIfAborted();
    const { input, output, spec, processFd } = options;
    const argv = [program, `--parent=${process.pid}`, ...options.arguments, null];
    const fds = new Int32Array(4);
    const given = {
      input_fd: typeof input === 'object' ? PIPE : (input ?? NONE),
      output_fd: output === 'pipe' ? PIPE : (output ?? NONE),
      process_fd: processFd ?? NONE,
      spec_size: spec?.length ?? 0,
      spec: spec ?? null,
    };
    call(native().spawn, artefactPath(program), argv, given, fds);
    const [pidfd = -1, reportFd = -1, inputFd = -1, outputFd = -1] = fds;
    this.#pidfd = pidfd;
    this.#reports = readLines(reportFd);
    // Whoever was at it may be gone as well, and it must not stay a zombie.
    this.#onAbort = () => {
      this.kill();
      this.finish().catch(() => undefined);
    };
    signal.addEventListener('abort', this.#onAbort, { once: true });
    // Whoever reads from it may do so later.
    this.#output =
      outputFd < 0 ? undefined : new Socket({ fd: outputFd, readable: true, writable: false }).pause();
    this.#output?.on('error', () => {});
    this.#exited = readable(pidfd);
    this.#feeding = typeof input === 'object' ? this.#feed(input, inputFd) : Promise.resolve();
  }

  /** Resolves when it has ended, whether or not anybody waits for how. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** What it makes, piece by piece; reading slowly slows it. Whether that was all, `finish` tells. */
  get output(): AsyncIterable<Uint8Array> {
    return this.#output ?? Readable.from([]);
  }

  kill(): void {
    if (!this.#isClosed) call(native().kill, this.#pidfd);
  }

  /** The next line of its report; undefined at the end. @throws the failure it reports, as ClusterError */
  async report(): Promise<ReportLine | undefined> {
    const { value, done } = await this.#reports.next();
    if (done) return undefined;
    if (value.ok === false) throw failure(value);
    return value;
  }

  /**
   * Waits for its end. May be repeated.
   *
   * @returns the line by which it says that all went well
   * @throws ClusterError what it reports; the reason of the signal; what the input threw
   */
  finish(): Promise<ReportLine> {
    this.#finishing ??= this.#finish();
    return this.#finishing;
  }

  async #finish(): Promise<ReportLine> {
    try {
      await this.#exited;
      // The source may be slow, or never send another byte.
      this.#ended.abort();
      await this.#feeding;
      const status = call(native().reap, this.#pidfd);
      const last = await this.#lastReport().catch((error: unknown) => ({ error }));
      this.signal.throwIfAborted();
      if (this.#fault) throw this.#fault.error;
      if (last && 'error' in last) throw last.error;
      if (status === 0 && last?.ok === true) return last;
      throw new ClusterError('internal', `${this.program} ended with status ${status}`);
    } finally {
      this.signal.removeEventListener('abort', this.#onAbort);
      this.#output?.destroy();
      this.#isClosed = true;
      await close(this.#pidfd);
    }
  }

  async #lastReport(): Promise<ReportLine | undefined> {
    let last: ReportLine | undefined;
    for (let line = await this.report(); line; line = await this.report()) last = line;
    return last;
  }

  async #feed(input: AsyncIterable<Uint8Array>, fd: number): Promise<void> {
    const pipe = new Socket({ fd, readable: false, writable: true });
    const signal = AbortSignal.any([this.signal, this.#ended.signal]);
    await pipeline(Readable.from(input, { objectMode: false }), pipe, { signal }).catch((error: unknown) => {
      // It ended before it had read everything: its report says why.
      if (this.#ended.signal.aborted || isBrokenPipe(error)) return;
      // A failed source leaves the archive truncated: that must not be taken for its end.
      this.#fault = { error };
      this.kill();
    });
  }
}

function load() {
  koffi.struct('rt_helper', {
    input_fd: 'int',
    output_fd: 'int',
    process_fd: 'int',
    spec_size: 'int',
    spec: 'const void *',
  });
  return {
    spawn: declare(
      'int rt_helper_spawn(const char *path, const char **argv, const rt_helper *given, _Out_ int *fds, _Out_ rt_error *err)',
    ),
    kill: declare('int rt_helper_kill(int pidfd, _Out_ rt_error *err)'),
    reap: declare('int rt_helper_reap(int pidfd, _Out_ rt_error *err)'),
    pidfd: declare('int rt_pidfd_open(int pid, _Out_ rt_error *err)'),
  };
}
let loaded: ReturnType<typeof load> | undefined;
const native = () => {
  loaded ??= load();
  return loaded;
};

/** A pidfd of whatever process has the pid now. @throws ClusterError `notFound` when there is none */
export const openPidfd = (pid: number): number => call(native().pidfd, pid);

/** Of our pipe to it: a source's own connection may break, too, and that is another matter. */
function isBrokenPipe(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code === 'EPIPE' && syscall === 'write';
}

function readable(fd: number): Promise<void> {
  return new Promise((resolve) => {
    const poll = koffi.node.poll(fd, () => {
      poll.stop();
      poll.close();
      resolve();
    });
  });
}

async function* readLines(fd: number): AsyncGenerator<ReportLine> {
  let rest = Buffer.alloc(0);
  try {
    for (;;) {
      const buffer = Buffer.alloc(4096);
      const { bytesRead } = await read(fd, buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield parseLine(rest.subarray(0, end).toString());
        rest = rest.subarray(end + 1);
      }
      if (rest.length > LINE_BYTES_MAX) return;
    }
  } finally {
    await close(fd);
  }
}

function parseLine(text: string): ReportLine {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as ReportLine) : {};
  } catch {
    return {};
  }
}

function failure({ kind, message }: ReportLine): ClusterError {
  return new ClusterError(
    typeof kind === 'string' && isErrorKind(kind) ? kind : 'internal',
    typeof message === 'string' ? message : 'the helper failed without a word',
  );
}
