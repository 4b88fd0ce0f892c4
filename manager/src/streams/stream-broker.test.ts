import type { ClusterError } from '@tessera/shared/errors';
import type { FrameSocket } from '@tessera/shared/frames';
import {
  type AgentMessage,
  DispatcherClient,
  type Frame,
  type ManagerMessage,
  Register,
  type StreamRequest,
} from '@tessera/shared/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  aManager,
  CHANNEL_OPTIONS,
  channelCredentials,
  openFrames,
  type TestManager,
} from '../rpc/testing/index.js';
import type { SideStream, StreamKind } from './index.js';

const KIND: StreamKind = { $case: 'imageRemove', value: { imageId: 'sha256:a' } };
const LIMIT_MS = 20_000;

let manager: TestManager;
const cleanup: (() => void)[] = [];

beforeEach(async () => {
  manager = await aManager();
  cleanup.push(() => manager.close());
});
afterEach(() => {
  for (const undo of cleanup.splice(0).reverse()) undo();
});

/** An agent that opens whatever stream it is asked for, and hands its end to `serve`. */
async function anAgent(
  serve: (stream: FrameSocket, request: StreamRequest) => void,
  options: { readonly at?: TestManager; readonly openAs?: TestManager } = {},
) {
  const at = options.at ?? manager;
  const { nodeId, identity } = await at.addNode('worker');
  const client = new DispatcherClient(at.addr, channelCredentials(identity), CHANNEL_OPTIONS);
  const session = client.session();
  session.on('error', () => {});
  cleanup.push(() => client.close());
  session.write({ body: { $case: 'register', value: Register.create() } } satisfies AgentMessage);
  const ready = new Promise<void>((resolve) => {
    session.on('data', ({ body }: ManagerMessage) => {
      if (body?.$case === 'assignments') resolve();
      if (body?.$case === 'streamRequest') open(body.value).catch(() => undefined);
    });
  });
  const open = async (request: StreamRequest) => {
    const stream = await openFrames(request.managerAddr, identity);
    cleanup.push(() => stream.destroy());
    stream.on('error', () => {});
    stream.write({ body: { $case: 'open', value: request.streamId } });
    serve(stream, request);
  };
  await ready;
  return { nodeId, identity };
}

const data = (text: string): Frame => ({ body: { $case: 'data', value: Buffer.from(text) } });
const END: Frame = { body: { $case: 'end', value: true } };

async function texts(stream: SideStream): Promise<string[]> {
  const all: string[] = [];
  for await (const { body } of stream.frames)
    if (body?.$case === 'data') all.push(Buffer.from(body.value).toString());
  return all;
}

const rejection = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error as ClusterError,
  );

const never = new AbortController().signal;

test('what an agent sends arrives in order, up to its end', async () => {
  const { nodeId } = await anAgent((stream) => {
    for (const text of ['one', 'two', 'three']) stream.write(data(text));
    stream.write(END);
  });

  const stream = await manager.streams.requestStream(nodeId, KIND, never);

  expect(await texts(stream)).toEqual(['one', 'two', 'three']);
  stream.close();
});

test('the agent is told what is asked of it, and hears what is written after its own end', async () => {
  const heard: string[] = [];
  let asked: StreamRequest | undefined;
  const { nodeId } = await anAgent((stream, request) => {
    asked = request;
    stream.write(END);
    stream.on('data', ({ body }: Frame) => {
      if (body?.$case === 'data') heard.push(Buffer.from(body.value).toString());
    });
  });

  const stream = await manager.streams.requestStream(nodeId, KIND, never);
  expect(await texts(stream)).toEqual([]);
  await stream.write(data('after all'));
  stream.close();

  expect(asked?.kind).toMatchObject(KIND);
  await expect.poll(() => heard, { timeout: LIMIT_MS }).toEqual(['after all']);
});

test("an agent's error is thrown as what it names", async () => {
  const { nodeId } = await anAgent((stream) => {
    stream.write(data('some'));
    stream.write({ body: { $case: 'error', value: { kind: 'invalidArgument', message: 'no archive' } } });
  });

  const stream = await manager.streams.requestStream(nodeId, KIND, never);

  expect(await rejection(texts(stream))).toMatchObject({ kind: 'invalidArgument', message: 'no archive' });
  expect(await rejection(stream.write(data('more')))).toMatchObject({ kind: 'unavailable' });
});

test('a stream that ends half way is not taken for a whole one', async () => {
  const { nodeId } = await anAgent((stream) => {
    stream.write(data('half'));
    stream.end();
  });

  const stream = await manager.streams.requestStream(nodeId, KIND, never);

  expect(await rejection(texts(stream))).toMatchObject({ kind: 'unavailable' });
});

test('an agent that dies breaks the stream', async () => {
  const { nodeId } = await anAgent((stream) => {
    stream.write(data('half'));
    stream.once('data', () => stream.cancel());
  });

  const stream = await manager.streams.requestStream(nodeId, KIND, never);
  await stream.write(data('whatever'));

  expect(await rejection(texts(stream))).toMatchObject({ kind: 'unavailable' });
});

test('a writer waits for a slow agent, and a reader that is slow slows the agent', async () => {
  const piece = 'x'.repeat(64 * 1024);
  let sent = 0;
  const { nodeId } = await anAgent((stream) => {
    // It writes for as long as it may, and stops reading after the first piece.
    stream.once('data', () => stream.pause());
    const write = () => {
      while (sent < 2_000) {
        sent++;
        if (!stream.write(data(piece))) {
          stream.once('drain', write);
          return;
        }
      }
    };
    write();
  });
  const stream = await manager.streams.requestStream(nodeId, KIND, never);
  let written = 0;
  const writing = (async () => {
    for (; written < 2_000; written++) await stream.write(data(piece));
  })().catch(() => {});

  let [lastSent, lastWritten] = [-1, -1];
  await expect
    .poll(
      () => {
        const stands = sent === lastSent && written === lastWritten && written > 0;
        [lastSent, lastWritten] = [sent, written];
        return stands;
      },
      { interval: 500, timeout: LIMIT_MS },
    )
    .toBe(true);

  expect(sent).toBeLessThan(2_000);
  expect(written).toBeLessThan(2_000);
  stream.close();
  await writing;
});

test('an abort ends the stream, and the agent hears why', async () => {
  const ends: string[] = [];
  const { nodeId } = await anAgent((stream) => {
    stream.on('data', ({ body }: Frame) => {
      if (body?.$case === 'error') ends.push(body.value.kind);
    });
  });
  const abort = new AbortController();
  const stream = await manager.streams.requestStream(nodeId, KIND, abort.signal);
  const reading = rejection(texts(stream));

  abort.abort();

  expect(await reading).toBeDefined();
  await expect.poll(() => ends, { timeout: LIMIT_MS }).toHaveLength(1);
});

describe('asking', () => {
  test('a node without a session is unavailable, and an unknown one not found', async () => {
    const { nodeId } = await manager.addNode('worker', 'host7');

    const [away, unknown] = await Promise.all([
      rejection(manager.streams.requestStream(nodeId, KIND, never)),
      rejection(manager.streams.requestStream('nobody', KIND, never)),
    ]);

    expect(away).toMatchObject({ kind: 'unavailable', message: 'node host7 is not connected' });
    expect(unknown?.kind).toBe('notFound');
  });

  test('giving up while the agent has not come ends the wait', async () => {
    const { nodeId } = await anAgent((stream) => stream.cancel());
    const abort = new AbortController();

    const asked = rejection(manager.streams.requestStream(nodeId, KIND, abort.signal));
    abort.abort();

    expect(await asked).toMatchObject({ kind: 'cancelled' });
  });

  test('an id is good once, and for the node it was made for alone', async () => {
    const ids: string[] = [];
    const { nodeId, identity } = await anAgent((stream, { streamId }) => {
      ids.push(streamId);
      stream.write(END);
    });
    await manager.streams.requestStream(nodeId, KIND, never);
    const open = async (as: typeof identity, streamId: string) => {
      const stream = await openFrames(manager.addr, as);
      cleanup.push(() => stream.destroy());
      stream.write({ body: { $case: 'open', value: streamId } });
      return new Promise<string | undefined>((resolve) =>
        stream.once('data', ({ body }: Frame) =>
          resolve(body?.$case === 'error' ? body.value.kind : undefined),
        ),
      );
    };

    expect(await open(identity, ids[0]!)).toBe('notFound');
    const thief = await manager.addNode('worker');
    const stolen = await anAgent((stream, { streamId }) => {
      stream.cancel();
      ids.push(streamId);
    });
    const abort = new AbortController();
    const asked = rejection(manager.streams.requestStream(stolen.nodeId, KIND, abort.signal));
    await expect.poll(() => ids, { timeout: LIMIT_MS }).toHaveLength(2);
    expect(await open(thief.identity, ids[1]!)).toBe('notFound');
    abort.abort();
    await asked;
  });

  test('an agent with another manager is reached through that one, and dials the asker', async () => {
    const other = await aManager({ beside: manager });
    cleanup.push(() => other.close());
    const { nodeId } = await anAgent(
      (stream, { managerAddr }) => {
        stream.write(data(managerAddr));
        stream.write(END);
      },
      { at: other },
    );
    await expect.poll(() => manager.store.view().sessions.get(nodeId), { timeout: LIMIT_MS }).toBeDefined();

    const stream = await manager.streams.requestStream(nodeId, KIND, never);

    expect(await texts(stream)).toEqual([manager.addr]);
    stream.close();
  });
});
