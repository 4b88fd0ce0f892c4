import { ClusterError } from '@tessera/shared/errors';
import type { Frame } from '@tessera/shared/wire';
import type { SideStream } from '../../../streams/index.js';
import type { Connection, Hijack } from '../../route.js';
import { frame, STDERR, STDOUT, SYSTEM_ERROR, streamType } from '../multiplexed.js';
import { DetachFilter } from './detach-keys.js';

export interface AttachStyle {
  readonly version: number;
  /** A terminal: the bytes as they are, and keys that detach. */
  readonly tty: boolean;
  /** Whether what the client sends is for the program. */
  readonly stdin: boolean;
  readonly detachKeys: readonly number[];
}

/**
 * An answer that joins a connection with a stream of an agent, once that agent has registered it: nothing that happens
 * after the head of the answer is missed.
 *
 * @throws ClusterError what the agent refused it with
 */
export async function joined(stream: SideStream, style: AttachStyle): Promise<Hijack> {
  const frames = stream.frames[Symbol.asyncIterator]();
  try {
    await ready(frames);
  } catch (error) {
    stream.close();
    throw error;
  }
  return {
    contentType: streamType(style.version, style.tty),
    serve: (connection) => serve(connection, stream, frames, style),
    ...(style.tty ? {} : { onError: (message: string) => frame(SYSTEM_ERROR, Buffer.from(message)) }),
  };
}

/** @throws ClusterError `unavailable` when the stream ends before */
export async function ready(frames: AsyncIterator<Frame>): Promise<void> {
  for (;;) {
    const { done, value } = await frames.next();
    if (done) throw new ClusterError('unavailable', 'the node ended the stream before it began');
    if (value.body?.$case === 'ready') return;
  }
}

async function serve(
  connection: Connection,
  stream: SideStream,
  frames: AsyncIterator<Frame>,
  style: AttachStyle,
): Promise<void> {
  const input = forwardInput(connection, stream, style);
  // A way in that breaks is no reason to stop listening; the way out says how it ended.
  try {
    await Promise.race([forwardOutput(connection, frames, style), input.then(untilDetached, () => NEVER)]);
  } finally {
    stream.close();
  }
}

const NEVER = new Promise<never>(() => {});
/** The end of the input ends the whole only if the user has detached. */
const untilDetached = (isDetached: boolean): Promise<void> => (isDetached ? Promise.resolve() : NEVER);

async function forwardOutput(
  connection: Connection,
  frames: AsyncIterator<Frame>,
  { tty }: AttachStyle,
): Promise<void> {
  for (;;) {
    const { done, value } = await frames.next();
    if (done) return;
    if (value.body?.$case !== 'output') continue;
    const { stderr, data } = value.body.value;
    await connection.write(tty ? data : frame(stderr ? STDERR : STDOUT, data));
  }
}

/** @returns whether the user has typed the keys that detach */
async function forwardInput(
  connection: Connection,
  stream: SideStream,
  { stdin, tty, detachKeys }: AttachStyle,
): Promise<boolean> {
  const filter = tty ? new DetachFilter(detachKeys) : undefined;
  for await (const chunk of connection.input) {
    if (!stdin) continue;
    const meant = Buffer.from(filter ? filter.pass(chunk) : chunk);
    if (meant.length > 0) await stream.write({ body: { $case: 'data', value: meant } });
    if (filter?.isDetached) return true;
  }
  if (stdin) await stream.end();
  return false;
}
