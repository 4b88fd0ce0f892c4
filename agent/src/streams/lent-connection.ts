import { closeSync } from 'node:fs';
import { type AnswerBody, type HelperInput, type RequestBody, takeConnection } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import type { FrameStream } from './frame-stream.js';

/**
 * What a client sends: from its own connection, which the manager of this host lends, so that neither manager nor agent
 * carries a byte of it; else from the stream.
 *
 * @param lends whether the manager lends it to an agent of its host
 */
export async function withRequestBody<T>(
  stream: FrameStream,
  lends: boolean,
  stop: AbortController,
  work: (input: HelperInput) => Promise<T>,
): Promise<T> {
  const lent = await borrow(stream, lends);
  if (!lent) return work(stream.data());
  watchEnd(stream, stop);
  try {
    return await work(lent);
  } finally {
    lent.close();
  }
}

/** The same for what a client is sent; undefined: it goes by the stream. */
export async function withAnswerBody<T>(
  stream: FrameStream,
  lends: boolean,
  stop: AbortController,
  work: (output: AnswerBody | undefined) => Promise<T>,
): Promise<T> {
  const lent = await borrow(stream, lends);
  if (!lent) {
    watchEnd(stream, stop);
    return work(undefined);
  }
  const begin = stream.next().then(({ $case }) => {
    if ($case !== 'ready') throw new ClusterError('internal', `the manager sent ${$case} instead of ready`);
  });
  begin.then(
    () => watchEnd(stream, stop),
    (error: unknown) => stop.abort(error),
  );
  try {
    return await work({ connection: lent.connection, begin });
  } finally {
    lent.close();
  }
}

/** Where nothing is read of a stream, its end tells that nobody waits for what is being done. */
export function watchEnd(stream: FrameStream, stop: AbortController): void {
  const gone = () => stop.abort(new DOMException('the manager has ended the stream', 'AbortError'));
  stream.ended().then(gone, gone);
}

async function borrow(stream: FrameStream, lends: boolean): Promise<RequestBody | undefined> {
  // What a manager elsewhere says of this host's processes is not acted upon.
  if (!lends || !stream.isLocal) return undefined;
  const body = await stream.next();
  if (body.$case !== 'connection') throw new ClusterError('internal', 'the manager lends no connection');
  const { head, bodyBytes, ...place } = body.value;
  let connection: number;
  try {
    connection = takeConnection(place);
  } catch {
    // Forbidden to us, perhaps (ptrace_scope), or closed by the client: the manager carries it then.
    await stream.write({ $case: 'connectionTaken', value: false });
    return undefined;
  }
  await stream.write({ $case: 'connectionTaken', value: true });
  let isOpen = true;
  const close = () => {
    if (!isOpen) return;
    isOpen = false;
    closeSync(connection);
    stream.write({ $case: 'connectionTaken', value: false }).catch(() => undefined);
  };
  return { connection, head, bytes: bodyBytes, close };
}
