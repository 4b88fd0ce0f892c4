import { ClusterError } from '@tessera/shared/errors';
import { ClientConnection, type Frame } from '@tessera/shared/wire';
import { expect, test } from 'vitest';
import { exchange } from './exchange.js';
import type { Lendable } from './lendable.js';
import type { SideStream } from './side-stream.js';

/** A stream that takes everything, and on which the agent sends nothing but its end. */
function aStream(
  end: Promise<void>,
  frames?: AsyncIterable<Frame>,
): SideStream & { readonly written: Frame[] } {
  const written: Frame[] = [];
  return {
    written,
    isLocal: frames !== undefined,
    frames: frames ?? {
      [Symbol.asyncIterator]: () => ({ next: () => end.then(() => ({ done: true, value: undefined })) }),
    },
    write: async (frame) => void written.push(frame),
    end: async () => {},
    close: () => {},
  };
}

/** A user who sends one piece and then neither goes on nor goes away. */
async function* stalled(begun: () => void): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(256 * 1024);
  begun();
  await new Promise(() => {});
}

test('the loss of the agent is told at once, also while the user sends nothing', async () => {
  let lose = (_: unknown) => {};
  const stream = aStream(
    new Promise((_, reject) => {
      lose = reject;
    }),
  );
  let begun = () => {};
  const beginning = new Promise<void>((resolve) => {
    begun = resolve;
  });
  const exchanging = exchange(stream, stalled(begun), () => {});
  exchanging.catch(() => {});
  await beginning;
  expect(stream.written).toHaveLength(1);

  lose(new ClusterError('unavailable', 'the node has gone'));

  await expect(exchanging).rejects.toThrow('the node has gone');
});

test('an agent that has said all it had to say is still sent the rest', async () => {
  const stream = aStream(Promise.resolve());

  await exchange(
    stream,
    (async function* () {
      yield Buffer.from('a');
      await Promise.resolve();
      yield Buffer.from('b');
    })(),
    () => {},
  );

  expect(stream.written).toHaveLength(2);
});

const taken = (value: boolean): Frame => ({ body: { $case: 'connectionTaken', value } });

/** What an agent of this host says of a connection that is lent to it. */
async function* says(...frames: Frame[]): AsyncGenerator<Frame> {
  for (const frame of frames) {
    await new Promise(setImmediate);
    yield frame;
  }
}

/** A connection, and how it was taken back. */
function aConnection(): Lendable & { readonly takenBack: boolean[] } {
  const takenBack: boolean[] = [];
  return {
    takenBack,
    lend: () => ClientConnection.fromPartial({ fd: 7 }),
    takeBack: (isUntouched) => takenBack.push(isUntouched),
  };
}
const aPiece = async function* () {
  yield Buffer.from('a');
};
const sentTo = ({ written }: { readonly written: Frame[] }) => written.map(({ body }) => body?.$case);

test.each([
  ['is taken and given back', [taken(true), taken(false)]],
  ['is taken, and kept to the end', [taken(true)]],
])('of a connection that %s nothing is sent', async (_, frames) => {
  const stream = aStream(Promise.resolve(), says(...frames));
  const connection = aConnection();

  await exchange(stream, aPiece(), () => {}, connection);

  expect(sentTo(stream)).toEqual(['connection']);
  expect(connection.takenBack).toEqual([false]);
});

test('what comes by a connection that the agent cannot take is sent', async () => {
  const stream = aStream(Promise.resolve(), says(taken(false)));
  const connection = aConnection();

  await exchange(stream, aPiece(), () => {}, connection);

  expect(sentTo(stream)).toEqual(['connection', 'data']);
  expect(connection.takenBack).toEqual([true]);
});

test('an agent of another host is lent nothing', async () => {
  const stream = aStream(Promise.resolve());
  const connection = aConnection();

  await exchange(stream, aPiece(), () => {}, connection);

  expect(sentTo(stream)).toEqual(['data']);
  expect(connection.takenBack).toEqual([]);
});

test('a refusal takes the connection back', async () => {
  const stream = aStream(
    Promise.resolve(),
    (async function* () {
      yield taken(true);
      throw new ClusterError('invalidArgument', 'no archive');
    })(),
  );
  const connection = aConnection();

  await expect(exchange(stream, aPiece(), () => {}, connection)).rejects.toThrow('no archive');

  expect(connection.takenBack).toEqual([false]);
});
