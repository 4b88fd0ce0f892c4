import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ClusterError, type ErrorKind } from '@tessera/shared/errors';
import koffi, { type KoffiFunc } from 'koffi';

/** A declared function of libcore.so. koffi checks the arguments against the prototype. */
export type NativeFunction = KoffiFunc<(...args: unknown[]) => number>;

/** Directory of what `make -C native` builds; the same from src and from dist. */
const BUILD = fileURLToPath(new URL('../build/', import.meta.url));

/** Path of a built artefact: `libcore.so`, `ts-shim`, `ts-exec`, `ts-unpack`. */
export function artefactPath(name: string): string {
  const path = `${BUILD}${name}`;
  if (!existsSync(path))
    throw new ClusterError('failedPrecondition', `${path} is missing: run npm run build`);
  return path;
}

// Mirrors native/include/rt.h. A change on either side belongs in the same commit.
koffi.struct('rt_error', { status: 'int', message: koffi.array('char', 256, 'String') });

let library: ReturnType<typeof koffi.load> | undefined;

/** Declares one function of libcore.so, loading it at the first call. Its last parameter is the error. */
export function declare(prototype: string): NativeFunction {
  library ??= koffi.load(artefactPath('libcore.so'));
  return library.func(prototype) as NativeFunction;
}

/** A failed native call: errno's name and number beside the sentence. */
export class NativeCallError extends ClusterError {
  constructor(
    readonly errno: number,
    readonly code: string,
    message: string,
  ) {
    super(kindOf(code), `${message}: ${code}`);
  }
}

/** An rt_error in its bytes: read only when a call has failed, which is rare. */
const ERROR_BYTES = 4 + 256;
const callError = Buffer.alloc(ERROR_BYTES);

/** Calls a function that cannot block, on this thread. Returns its result, 0 or more. */
export function call(symbol: NativeFunction, ...args: unknown[]): number {
  return check(symbol(...args, callError), callError);
}

/** koffi refuses more than 256 calls under way; libuv's threads run far fewer at once in any case. */
const ASYNC_CALLS_MAX = 192;
let asyncCalls = 0;
const waitingCalls: (() => void)[] = [];

/** Calls a function that may block, on a worker thread; past a bound it waits for others to end, in order. */
export function callAsync(symbol: NativeFunction, ...args: unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const begin = () => startCall(symbol, args, resolve, reject);
    if (asyncCalls < ASYNC_CALLS_MAX) begin();
    else waitingCalls.push(begin);
  });
}

function startCall(
  symbol: NativeFunction,
  args: readonly unknown[],
  resolve: (result: number) => void,
  reject: (error: unknown) => void,
): void {
  const error = Buffer.alloc(ERROR_BYTES);
  asyncCalls++;
  try {
    symbol.async(...args, error, (failure: Error | null, result: number) => {
      endCall();
      if (failure) return reject(failure);
      try {
        resolve(check(result, error));
      } catch (cause) {
        reject(cause);
      }
    });
  } catch (cause) {
    endCall();
    reject(cause);
  }
}

function endCall(): void {
  asyncCalls--;
  waitingCalls.shift()?.();
}

function check(result: number, error: Buffer): number {
  if (result >= 0) return result;
  const errno = -result;
  const end = error.indexOf(0, 4);
  throw new NativeCallError(errno, errnoName(errno), error.toString('utf8', 4, end < 4 ? ERROR_BYTES : end));
}

/** The first name of a number counts: EAGAIN, not EWOULDBLOCK. */
const ERRNO_NAMES = new Map(
  Object.entries(koffi.os.errno)
    .map(([name, number]): [number, string] => [number, name])
    .reverse(),
);

export const errnoName = (errno: number): string => ERRNO_NAMES.get(errno) ?? `errno ${errno}`;

function kindOf(code: string): ErrorKind {
  switch (code) {
    case 'ENOENT':
    case 'ESRCH':
    case 'ENODEV':
      return 'notFound';
    case 'EEXIST':
      return 'alreadyExists';
    case 'EINVAL':
    case 'ENAMETOOLONG':
      return 'invalidArgument';
    case 'EACCES':
    case 'EPERM':
      return 'permissionDenied';
    case 'ENOSPC':
    case 'ENOMEM':
    case 'EMFILE':
    case 'ENFILE':
      return 'resourceExhausted';
    case 'EAGAIN':
    case 'EINTR':
    case 'EBUSY':
      return 'unavailable';
    default:
      return 'internal';
  }
}
