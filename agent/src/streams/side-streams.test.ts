import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { FrameSocket } from '@tessera/shared/frames';
import { Image } from '@tessera/shared/model';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { type Frame, LogRecord, type StreamRequest } from '@tessera/shared/wire';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { RegistryImages } from '../image/index.js';
import type { NodeCredentials } from '../session/index.js';
import { credentialsOf, FakeManager } from '../session/testing/index.js';
import { SideStreams, type SideStreamsOptions } from './side-streams.js';

let managerCredentials: NodeCredentials;
let workerCredentials: NodeCredentials;
beforeAll(async () => {
  const authority = await TestAuthority.create();
  managerCredentials = await credentialsOf(authority, 'manager', 'node-m');
  workerCredentials = await credentialsOf(authority, 'worker', 'node-w');
});

let manager: FakeManager;
let streams: SideStreams | undefined;
beforeEach(async () => {
  manager = new FakeManager();
  await manager.listen(managerCredentials);
});
afterEach(async () => {
  await streams?.close();
  manager.close();
});

function open(kind: StreamRequest['kind'], part: Partial<SideStreamsOptions>): void {
  streams = new SideStreams({
    credentials: () => workerCredentials,
    dialledAt: (managerAddr) => managerAddr,
    clock: systemClock,
    logger: silentLogger,
    logs: { read: async function* () {} },
    images: { load: async () => [], remove: async () => {}, save: async function* () {} },
    ...part,
  });
  streams.open({ streamId: 'stream-1', managerAddr: manager.addr, kind });
}

const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 10 });

/** What the manager's end has received. */
async function theStream(): Promise<{ stream: FrameSocket; frames: Frame['body'][] }> {
  await until(() => expect(manager.streams).toHaveLength(1));
  const stream = manager.streams[0]!;
  const frames: Frame['body'][] = [];
  stream.on('data', ({ body }: Frame) => frames.push(body));
  stream.on('end', () => stream.end());
  stream.on('error', () => undefined);
  return { stream, frames };
}
const kinds = (frames: readonly Frame['body'][]) => frames.map((body) => body?.$case);
const record = (text: string) => LogRecord.fromPartial({ taskId: 'task-1', line: Buffer.from(text) });
const logsOf = (frames: readonly Frame['body'][]) =>
  frames.flatMap((body) =>
    body?.$case === 'logs' ? body.value.records.map(({ line }) => line.toString()) : [],
  );
const follow: StreamRequest['kind'] = {
  $case: 'logs',
  value: {
    taskIds: ['task-1'],
    follow: true,
    tail: -1,
    sinceSeconds: 0,
    sinceNanos: 0,
    untilSeconds: 0,
    untilNanos: 0,
    stdout: true,
    stderr: true,
  },
};

describe('the manager of this host', () => {
  let directory: string;
  let server: Server;
  const calls: { stream: FrameSocket; frames: Frame['body'][] }[] = [];
  const waiting = () => calls.filter(({ frames }) => frames.length === 1 && frames[0]?.value === '');
  beforeEach(async () => {
    calls.length = 0;
    directory = mkdtempSync(join(tmpdir(), 'tessera-local-'));
    server = createServer((socket) => {
      const call: (typeof calls)[number] = { stream: new FrameSocket(socket), frames: [] };
      call.stream.on('data', ({ body }: Frame) => call.frames.push(body));
      call.stream.on('end', () => call.stream.end());
      call.stream.on('error', () => undefined);
      calls.push(call);
    });
    await new Promise<void>((resolve) => server.listen(join(directory, 'sock'), resolve));
    // It has asked by the session first.
    open(remove, { localSocket: () => join(directory, 'sock'), images });
    await until(() => expect(waiting()).toHaveLength(8));
  });
  afterEach(() => {
    server.close();
    rmSync(directory, { recursive: true });
  });
  const removed: string[] = [];
  const images = {
    load: async () => [],
    remove: async (id: string) => void removed.push(id),
    save: async function* () {},
  };
  const remove: StreamRequest['kind'] = { $case: 'imageRemove', value: { imageId: 'sha256:a' } };

  test('is dialled at once, and then finds streams that wait for what it asks next', async () => {
    expect(kinds(calls[0]!.frames)).toEqual(['open', 'end']);
    const [spare] = waiting();

    spare!.stream.write({
      body: { $case: 'request', value: { streamId: 'stream-2', managerAddr: manager.addr, kind: remove } },
    });

    await until(() => expect(kinds(spare!.frames)).toEqual(['open', 'open', 'end']));
    expect(spare!.frames[1]).toMatchObject({ value: 'stream-2' });
    expect(removed).toEqual(['sha256:a', 'sha256:a']);
    // What was taken is made up for.
    await until(() => expect(waiting()).toHaveLength(8));
    expect(manager.streams).toHaveLength(0);
  });

  test('is left by those that wait when the agent stops', async () => {
    const spares = waiting();

    await streams?.close();

    await until(() => expect(spares.every(({ stream }) => stream.destroyed)).toBe(true));
  });
});

describe('logs', () => {
  test('come in order behind the name of the stream, and end with the last one', async () => {
    open(follow, {
      logs: {
        async *read() {
          for (let i = 0; i < 5_000; i++) yield record(`line ${i}`);
        },
      },
    });

    const { frames } = await theStream();
    await until(() => expect(frames.at(-1)?.$case).toBe('end'));

    expect(frames[0]).toEqual({ $case: 'open', value: 'stream-1' });
    expect(logsOf(frames)).toEqual(Array.from({ length: 5_000 }, (_, i) => `line ${i}`));
    expect(frames.length).toBeLessThan(100);
  });

  test('a line is sent at once while no other one follows', async () => {
    let next: (record: LogRecord) => void = () => undefined;
    open(follow, {
      logs: {
        async *read(_, signal) {
          yield record('first');
          yield await new Promise<LogRecord>((resolve, reject) => {
            next = resolve;
            signal.addEventListener('abort', () => reject(signal.reason as Error));
          });
        },
      },
    });

    const { frames } = await theStream();
    await until(() => expect(logsOf(frames)).toEqual(['first']));
    next(record('second'));
    await until(() => expect(logsOf(frames)).toEqual(['first', 'second']));
  });

  test('reading ends when the reader goes, even while nothing is written', async () => {
    let aborted = false;
    open(follow, {
      logs: {
        async *read(_, signal) {
          await new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => {
              aborted = true;
              reject(signal.reason as Error);
            }),
          );
        },
      },
    });

    const { stream } = await theStream();
    stream.end();

    await until(() => expect(aborted).toBe(true));
  });

  test('a slow reader slows the reading, however much there is', async () => {
    let read = 0;
    open(follow, {
      logs: {
        async *read() {
          for (; read < 100_000; read++) yield record('x'.repeat(1_000));
        },
      },
    });
    await until(() => expect(manager.streams).toHaveLength(1));

    // Nobody takes anything: what the two ends and the connection hold is all that is ever read.
    let before = -1;
    await vi.waitFor(
      () => {
        const now = read;
        const settled = now === before;
        before = now;
        expect(settled).toBe(true);
      },
      { timeout: 20_000, interval: 200 },
    );

    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(50_000);
  });
});

describe('images', () => {
  const loadKind: StreamRequest['kind'] = { $case: 'imageLoad', value: { quiet: false, lends: false } };

  test('an archive is loaded from the stream, and each image answered', async () => {
    const got: Buffer[] = [];
    open(loadKind, {
      images: {
        async load(archive, progress) {
          for await (const piece of archive as AsyncIterable<Uint8Array>) got.push(Buffer.from(piece));
          progress('Loaded image: busybox:latest');
          return [Image.fromPartial({ id: 'sha256:1' }), Image.fromPartial({ id: 'sha256:2' })];
        },
        remove: async () => {},
        save: async function* () {},
      },
    });

    const { stream, frames } = await theStream();
    for (const text of ['one ', 'two']) stream.write({ body: { $case: 'data', value: Buffer.from(text) } });
    stream.write({ body: { $case: 'end', value: true } });
    await until(() => expect(frames.at(-1)?.$case).toBe('end'));

    expect(Buffer.concat(got).toString()).toBe('one two');
    expect(kinds(frames)).toEqual(['open', 'progress', 'imageLoaded', 'imageLoaded', 'end']);
  });

  test('an archive that breaks off is not taken for a whole one', async () => {
    let failure: unknown;
    open(loadKind, {
      images: {
        async load(archive) {
          try {
            for await (const _ of archive as AsyncIterable<Uint8Array>);
          } catch (error) {
            failure = error;
            throw error;
          }
          return [];
        },
        remove: async () => {},
        save: async function* () {},
      },
    });

    const { stream } = await theStream();
    stream.write({ body: { $case: 'data', value: Buffer.from('half') } });
    stream.end();

    await until(() => expect(failure).toBeInstanceOf(ClusterError));
    expect((failure as ClusterError).kind).toBe('unavailable');
  });

  test('what goes wrong is told with its kind', async () => {
    open(
      { $case: 'imageRemove', value: { imageId: 'sha256:1' } },
      {
        images: {
          load: async () => [],
          remove: async () => {
            throw new ClusterError('conflict', 'image is in use');
          },
          save: async function* () {},
        },
      },
    );

    const { frames } = await theStream();
    await until(() => expect(frames.at(-1)?.$case).toBe('error'));

    expect(frames.at(-1)?.value).toMatchObject({ kind: 'conflict', message: 'image is in use' });
  });

  test('an archive is written whole', async () => {
    open(
      { $case: 'imageSave', value: { imageId: 'sha256:1', names: ['a'], more: [] } },
      {
        images: {
          load: async () => [],
          remove: async () => {},
          async *save() {
            yield Buffer.alloc(1_000_000, 7);
            yield Buffer.alloc(1, 8);
          },
        },
      },
    );

    const { frames } = await theStream();
    await until(() => expect(frames.at(-1)?.$case).toBe('end'));

    const bytes = Buffer.concat(frames.flatMap((body) => (body?.$case === 'data' ? [body.value] : [])));
    expect(bytes.length).toBe(1_000_001);
    expect(bytes.at(-1)).toBe(8);
  });
});

describe('what is asked of registries', () => {
  const plain = { load: async () => [], remove: async () => {}, save: async function* () {} };
  const pull = { reference: 'app:1', platform: '', registryAuth: '', describeOnly: false };

  test('a pull answers its progress as it comes, and the image at the end', async () => {
    const image = Image.fromPartial({ id: 'sha256:1' });
    const registry: RegistryImages = {
      pull: async (request, progress) => {
        expect(request).toEqual(pull);
        progress({ status: 'Pulling from app', id: '1' });
        return image;
      },
      push: async () => {},
      ask: async () => ({}),
    };
    open({ $case: 'imagePull', value: pull }, { images: { ...plain, registry } });

    const { frames } = await theStream();
    await until(() => expect(frames.at(-1)?.$case).toBe('end'));

    expect(kinds(frames)).toEqual(['open', 'progress', 'imageLoaded', 'end']);
    expect(JSON.parse(frames[1]!.value as string)).toEqual({ status: 'Pulling from app', id: '1' });
  });

  test('a pull ends when its asker goes away', async () => {
    let reason: unknown;
    const registry: RegistryImages = {
      pull: (_, __, signal) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            reason = signal.reason;
            reject(signal.reason);
          });
        }),
      push: async () => {},
      ask: async () => ({}),
    };
    open({ $case: 'imagePull', value: pull }, { images: { ...plain, registry } });
    const { stream } = await theStream();

    stream.end();

    await until(() => expect(reason).toMatchObject({ name: 'AbortError' }));
  });
});

test('a manager that is not there costs nothing but the attempt', async () => {
  manager.close();
  open(follow, {});

  await streams?.close();
});

test('streams end with the agent', async () => {
  let aborted = false;
  open(follow, {
    logs: {
      async *read(_, signal) {
        await new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => {
            aborted = true;
            reject(signal.reason as Error);
          }),
        );
      },
    },
  });
  await theStream();

  await streams?.close();

  expect(aborted).toBe(true);
});

test('an agent that stops does not wait for a manager that leaves a finished stream open', async () => {
  open({ $case: 'imageLoad', value: { quiet: false, lends: false } }, {});
  // As by a manager that hangs: it reads, and never ends its own side.
  await until(() => expect(manager.streams).toHaveLength(1));
  const frames: Frame['body'][] = [];
  manager.streams[0]!.on('data', ({ body }: Frame) => frames.push(body)).on('error', () => undefined);
  await until(() => expect(kinds(frames)).toContain('end'));

  await streams?.close();
});

describe('connections', () => {
  const remove: StreamRequest['kind'] = { $case: 'imageRemove', value: { imageId: 'sha256:a' } };
  const again = (kind: StreamRequest['kind']) =>
    streams?.open({ streamId: 'again', managerAddr: manager.addr, kind });
  /** The manager's end of each stream, once there are so many. */
  async function ends(count: number): Promise<FrameSocket[]> {
    await until(() => expect(manager.streams).toHaveLength(count));
    return manager.streams;
  }
  /** Takes what comes, and ends as the agent does. */
  async function served(stream: FrameSocket): Promise<void> {
    stream.on('error', () => undefined).resume();
    await new Promise((resolve) => stream.once('end', resolve));
    stream.end();
  }

  test('one that a stream has ended well on serves the next', async () => {
    open(remove, {});
    for (let count = 1; count <= 3; count++) {
      await served((await ends(count))[count - 1]!);
      await until(() => expect(streams?.isIdle).toBe(true));
      if (count < 3) again(remove);
    }

    expect(manager.connectionCount).toBe(1);
  });

  test('streams under way at once have one each', async () => {
    open(follow, {
      logs: {
        async *read(_, signal) {
          await new Promise((_resolve, reject) =>
            signal.addEventListener('abort', () => reject(signal.reason as Error)),
          );
        },
      },
    });
    await ends(1);
    again(remove);
    await served((await ends(2))[1]!);

    expect(manager.connectionCount).toBe(2);
  });

  test('one whose stream broke is not used again', async () => {
    open(remove, {});
    (await ends(1))[0]!.destroy();
    await until(() => expect(streams?.isIdle).toBe(true));
    again(remove);
    await served((await ends(2))[1]!);

    expect(manager.connectionCount).toBe(2);
  });

  test('a manager that has come back is called anew', async () => {
    open(remove, {});
    await served((await ends(1))[0]!);
    await until(() => expect(streams?.isIdle).toBe(true));
    const { addr } = manager;
    manager.close();
    manager = new FakeManager();
    await manager.listen(managerCredentials, addr);

    // That the last one's connection has gone may not be known here yet.
    await until(() => {
      if (manager.streams.length === 0) again(remove);
      expect(manager.streams.length).toBeGreaterThan(0);
    });
    await served(manager.streams[0]!);

    expect(manager.addr).toBe(addr);
  });
});
