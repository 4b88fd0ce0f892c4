import type { HelperOptions } from './helper.js';
import { call, declare, type NativeFunction } from './library.js';

/** Where another process of this host has a client's connection. The inode tells it from another of that number. */
export interface ConnectionPlace {
  readonly pid: number;
  readonly fd: number;
  readonly inode: number;
}

/** The body of an HTTP request, on its own connection: it is read by the helper that makes something of it. */
export interface RequestBody {
  /** A duplicate of the connection, not blocking. */
  readonly connection: number;
  /** What has been read of it already. */
  readonly head: Uint8Array;
  /** Where it does not come in chunks. */
  readonly bytes?: number | undefined;
  /** To be called when it is needed no more; may be repeated. */
  close(): void;
}

/** The body of an HTTP answer, which a helper writes in chunks on the connection; all but the last one, which is empty. */
export interface AnswerBody {
  readonly connection: number;
  /** When the answer's head has gone out. */
  readonly begin: Promise<unknown>;
}

/** What a helper is to read. */
export type HelperInput = AsyncIterable<Uint8Array> | RequestBody;

/** A duplicate of a connection of another process, for the caller to close. @throws ClusterError where there is none */
export function takeConnection({ pid, fd, inode }: ConnectionPlace): number {
  take ??= declare('int rt_connection_take(int pid, int fd, uint64_t inode, _Out_ rt_error *err)');
  return call(take, pid, fd, inode);
}
let take: NativeFunction | undefined;

/** Whoever has read a body gives its connection back. */
export function giveBack(input: number | HelperInput): void {
  if (typeof input === 'object' && 'connection' in input) input.close();
}

type Given = Pick<HelperOptions, 'arguments' | 'input' | 'output'>;

/** How a helper is started that reads this. */
export function readingFrom(input: HelperInput): Given {
  if (!('connection' in input)) return { arguments: [], input };
  const { connection, head, bytes } = input;
  const length = bytes === undefined ? [] : [`--body-bytes=${bytes}`];
  return { arguments: ['--connection', ...length], input: only(head), output: connection };
}

/** How a helper is started that writes there. */
export const writingTo = ({ connection, begin }: AnswerBody): Given => ({
  arguments: ['--connection'],
  input: only(begin.then(() => Buffer.alloc(1))),
  output: connection,
});

async function* only(bytes: Uint8Array | Promise<Uint8Array>): AsyncGenerator<Uint8Array> {
  const content = await bytes;
  if (content.length > 0) yield content;
}
