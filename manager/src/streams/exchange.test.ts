import { ClusterError } from '@tessera/shared/errors';
import type { Frame } from '@tessera/shared/wire';
import { expect, test } from 'vitest';
import { exchange } from './exchange.js';
import type { SideStream } from './side-stream.js';

/** A stream that takes everything, and on which the agent sends nothing but its end. */
function aStream(end: Promise<void>): SideStream & { readonly written: Frame[] } {
  const written: Frame[] = [];
  return {
    written,
    frames: {
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

  expect(stream.written).toHaveLength(1);
});
