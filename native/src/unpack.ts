import { close as closeCallback, read as readCallback } from 'node:fs';
import { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { ClusterError, isErrorKind } from '@tessera/shared/errors';
import koffi from 'koffi';
import { artefactPath, call, callAsync, declare } from './library.js';

const read = promisify(readCallback);
const close = promisify(closeCallback);

/** What one archive may cost at most. */
export interface UnpackBounds {
  /** Uncompressed bytes, and what its files hold together. */
  readonly bytesMax: number;
  readonly entriesMax: number;
  /** Uncompressed by compressed bytes, looked at beyond `ratioFloorBytes` uncompressed ones. */
  readonly ratioMax: number;
  readonly ratioFloorBytes: number;
  /** Address space of the unpacker. */
  readonly memoryMaxBytes: number;
}

/** Above real images, below what would hurt a host. */
export const DEFAULT_UNPACK_BOUNDS: UnpackBounds = {
  bytesMax: 64 * 2 ** 30,
  entriesMax: 5_000_000,
  ratioMax: 200,
  ratioFloorBytes: 2 ** 30,
  memoryMaxBytes: 512 * 2 ** 20,
};

export interface UnpackRequest {
  /**
   * `layer`: an image's layer, with whiteouts made overlayfs's and all metadata kept.
   * `archive`: what images come in; files, directories and links alone, owned by root.
   */
  readonly mode: 'layer' | 'archive';
  /** An empty directory. Nothing is made outside it; what was made before a failure stays in it. */
  readonly root: string;
  /** A descriptor that is read from where it stands, or what is piped in. Plain, gzip or zstd. */
  readonly input: number | AsyncIterable<Uint8Array>;
  readonly bounds?: UnpackBounds;
}

export interface UnpackReport {
  /** SHA-256 of the uncompressed archive: `sha256:…`. */
  readonly diffId: string;
  /** What its files hold together. */
  readonly bytes: number;
  readonly tarBytes: number;
  readonly entries: number;
}

/**
 * Unpacks one archive by `ts-unpack`, a confined process that ends with ours.
 *
 * @throws ClusterError `invalidArgument` for a bad archive, `resourceExhausted` beyond the bounds
 */
export async function unpackArchive(request: UnpackRequest, signal: AbortSignal): Promise<UnpackReport> {
  signal.throwIfAborted();
  const unpacker = start(request);
  const kill = () => void call(native().kill, unpacker.pidfd);
  signal.addEventListener('abort', kill, { once: true });
  const ended = new AbortController();
  let fault: { readonly error: unknown } | undefined;
  const feeding = feed(request.input, unpacker.inputFd, AbortSignal.any([signal, ended.signal])).catch(
    (error: unknown) => {
      // It ended before it had read everything: its report says why.
      if (ended.signal.aborted || isBrokenPipe(error)) return;
      // A failed source leaves the archive truncated: the unpacker must not take that for its end.
      fault = { error };
      kill();
    },
  );
  try {
    await readable(unpacker.pidfd);
    // The source may be slow, or never send another byte.
    ended.abort();
    await feeding;
    const status = call(native().reap, unpacker.pidfd);
    const text = await readAll(unpacker.reportFd);
    signal.throwIfAborted();
    if (fault) throw fault.error;
    return parseReport(text, status);
  } finally {
    signal.removeEventListener('abort', kill);
    await Promise.all([close(unpacker.pidfd), close(unpacker.reportFd)]);
  }
}

/** Writes all of the file system that holds `path` to disk. */
export async function syncFileSystem(path: string): Promise<void> {
  await callAsync(native().sync, path);
}

function load() {
  return {
    spawn: declare(
      'int rt_unpack_spawn(const char *path, const char **argv, int input_fd, _Out_ int *fds, _Out_ rt_error *err)',
    ),
    kill: declare('int rt_unpack_kill(int pidfd, _Out_ rt_error *err)'),
    reap: declare('int rt_unpack_reap(int pidfd, _Out_ rt_error *err)'),
    sync: declare('int rt_syncfs(const char *path, _Out_ rt_error *err)'),
  };
}
let loaded: ReturnType<typeof load> | undefined;
const native = () => {
  loaded ??= load();
  return loaded;
};

// On the calling thread: the unpacker is told to end with the thread that started it.
function start({ mode, root, input, bounds = DEFAULT_UNPACK_BOUNDS }: UnpackRequest) {
  const path = artefactPath('ts-unpack');
  const argv = [
    'ts-unpack',
    `--root=${root}`,
    `--parent=${process.pid}`,
    `--bytes-max=${bounds.bytesMax}`,
    `--entries-max=${bounds.entriesMax}`,
    `--ratio-max=${bounds.ratioMax}`,
    `--ratio-floor=${bounds.ratioFloorBytes}`,
    `--memory-max=${bounds.memoryMaxBytes}`,
    mode,
    null,
  ];
  const fds = new Int32Array(3);
  call(native().spawn, path, argv, typeof input === 'number' ? input : -1, fds);
  return { pidfd: fds[0]!, reportFd: fds[1]!, inputFd: fds[2]! };
}

async function feed(input: UnpackRequest['input'], fd: number, signal: AbortSignal): Promise<void> {
  if (typeof input === 'number') return;
  const pipe = new Socket({ fd, readable: false, writable: true });
  await pipeline(Readable.from(input, { objectMode: false }), pipe, { signal });
}

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

async function readAll(fd: number): Promise<string> {
  const pieces: Buffer[] = [];
  for (;;) {
    const buffer = Buffer.alloc(4096);
    const { bytesRead } = await read(fd, buffer, 0, buffer.length, null);
    if (bytesRead === 0) return Buffer.concat(pieces).toString();
    pieces.push(buffer.subarray(0, bytesRead));
  }
}

interface Line {
  readonly ok?: unknown;
  readonly kind?: unknown;
  readonly message?: unknown;
  readonly diffId?: unknown;
  readonly bytes?: unknown;
  readonly tarBytes?: unknown;
  readonly entries?: unknown;
}

// The process that wrote it had read foreign bytes, so nothing in it is taken on trust.
function parseReport(text: string, status: number): UnpackReport {
  const line = parseLine(text);
  const { diffId, bytes, tarBytes, entries } = line;
  if (
    status === 0 &&
    line.ok === true &&
    typeof diffId === 'string' &&
    /^sha256:[0-9a-f]{64}$/.test(diffId) &&
    isCount(bytes) &&
    isCount(tarBytes) &&
    isCount(entries)
  ) {
    return { diffId, bytes, tarBytes, entries };
  }
  const kind = typeof line.kind === 'string' && isErrorKind(line.kind) ? line.kind : 'internal';
  const message =
    typeof line.message === 'string' ? line.message : `the unpacker ended with status ${status}`;
  throw new ClusterError(kind, message);
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

function parseLine(text: string): Line {
  try {
    const value: unknown = JSON.parse(text.split('\n', 1)[0] ?? '');
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
