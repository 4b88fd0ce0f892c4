import { ClusterError } from '@tessera/shared/errors';
import { ContainerStatus } from '@tessera/shared/model';
import { aNode, aService, aTask, aTaskStatus, FakeClock, settle } from '@tessera/shared/testing';
import { type Frame, LogRecord, type LogsRequest } from '@tessera/shared/wire';
import { beforeEach, expect, test } from 'vitest';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import type { SideStream, SideStreams } from '../streams/index.js';
import { type LogEntry, type LogOptions, ServiceLogBroker } from './index.js';

const ALL: LogOptions = {
  follow: false,
  tail: -1,
  sinceNs: undefined,
  untilNs: undefined,
  stdout: true,
  stderr: true,
};
const FOLLOW = { ...ALL, follow: true };

let clock: FakeClock;
let store: MemoryStore;
let nodes: FakeNodes;

beforeEach(async () => {
  clock = new FakeClock();
  store = await openMemoryStore(clock);
  nodes = new FakeNodes();
  await store.update((tx) => {
    tx.put('services', aService());
    for (const id of ['node-1', 'node-2']) tx.put('nodes', aNode({ id, name: `name-of-${id}` }));
  });
});

/** Side streams to agents that are written by hand. */
class FakeNodes implements SideStreams {
  readonly requests: (LogsRequest & { readonly nodeId: string })[] = [];
  readonly #writers = new Map<string, FakeStream>();
  readonly away = new Set<string>();

  async requestStream(
    nodeId: string,
    kind: Parameters<SideStreams['requestStream']>[1],
    signal: AbortSignal,
  ) {
    if (this.away.has(nodeId)) throw new ClusterError('unavailable', `node ${nodeId} is not connected`);
    if (kind.$case !== 'logs') throw new Error('only logs are asked for');
    this.requests.push({ ...kind.value, nodeId });
    const stream = new FakeStream(signal);
    this.#writers.set(nodeId, stream);
    return stream;
  }

  /** The stream last opened with a node. */
  at(nodeId: string): FakeStream {
    const stream = this.#writers.get(nodeId);
    if (!stream) throw new Error(`no stream with ${nodeId}`);
    return stream;
  }
}

class FakeStream implements SideStream {
  readonly isLocal = false;
  readonly frames: AsyncIterable<Frame>;
  isClosed = false;
  readonly #queue: (Frame | Error | 'end')[] = [];
  #wake = () => {};

  constructor(signal: AbortSignal) {
    this.frames = this.#read();
    signal.addEventListener('abort', () => this.close(signal.reason));
  }

  say(taskId: string, ...lines: [seconds: number, text: string][]): void {
    const records = lines.map(([seconds, text]) =>
      LogRecord.create({ taskId, seconds, line: Buffer.from(text) }),
    );
    this.#push({ body: { $case: 'logs', value: { records } } });
  }

  finish(): void {
    this.#push('end');
  }

  break(message: string): void {
    this.#push(new ClusterError('unavailable', message));
  }

  write = () => Promise.resolve();
  end = () => Promise.resolve();
  close(error?: unknown): void {
    this.isClosed = true;
    this.#push(error instanceof Error ? error : 'end');
  }

  #push(item: Frame | Error | 'end'): void {
    this.#queue.push(item);
    this.#wake();
  }

  async *#read(): AsyncGenerator<Frame> {
    for (;;) {
      const item = this.#queue.shift();
      if (item === 'end') return;
      if (item instanceof Error) throw item;
      if (item) yield item;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

const runTask = (id: string, nodeId: string, state: 'running' | 'complete' = 'running') =>
  store.update((tx) => {
    tx.put('tasks', aTask({ id, nodeId, state: 'assigned' }));
    const container = ContainerStatus.create({ containerId: id });
    tx.put('taskStatuses', aTaskStatus({ taskId: id, nodeId, state, container }));
  });

/** Reads on until it is stopped; what it has read so far is in `texts`. */
function read(options: LogOptions, selector = { kind: 'service', serviceId: 'service-1' } as const) {
  const abort = new AbortController();
  const texts: string[] = [];
  const missing: Extract<LogEntry, { kind: 'missing' }>[] = [];
  let hasEnded = false;
  const broker = new ServiceLogBroker({ store, streams: nodes, clock });
  const done = (async () => {
    for await (const entry of broker.logs(selector, options, abort.signal)) {
      if (entry.kind === 'missing') missing.push(entry);
      else texts.push(`${entry.task.id}: ${Buffer.from(entry.record.line).toString()}`);
    }
    hasEnded = true;
  })();
  done.catch(() => {});
  return { texts, missing, abort, done, hasEnded: () => hasEnded };
}

test('records of several nodes come in order of time, whichever node answers first', async () => {
  await runTask('a', 'node-1');
  await runTask('b', 'node-2');
  const reader = read(ALL);
  await settle();

  nodes.at('node-2').say('b', [2, 'two'], [4, 'four']);
  nodes.at('node-2').finish();
  await settle();
  expect(reader.texts).toEqual([]);
  nodes.at('node-1').say('a', [1, 'one'], [3, 'three'], [5, 'five']);
  nodes.at('node-1').finish();
  await reader.done;

  expect(reader.texts).toEqual(['a: one', 'b: two', 'a: three', 'b: four', 'a: five']);
});

test('the order of each task is kept even where its clock went back', async () => {
  await runTask('a', 'node-1');
  await runTask('b', 'node-2');
  const reader = read(ALL);
  await settle();

  nodes.at('node-1').say('a', [9, 'first'], [1, 'second']);
  nodes.at('node-1').finish();
  nodes.at('node-2').say('b', [5, 'other']);
  nodes.at('node-2').finish();
  await reader.done;

  expect(reader.texts.filter((text) => text.startsWith('a'))).toEqual(['a: first', 'a: second']);
  expect(reader.texts).toHaveLength(3);
});

test('a node that is away costs one entry that names it, and the rest is read', async () => {
  nodes.away.add('node-2');
  await runTask('a', 'node-1');
  await runTask('b', 'node-2');
  const reader = read(ALL);
  await settle();

  nodes.at('node-1').say('a', [1, 'one']);
  nodes.at('node-1').finish();
  await reader.done;

  expect(reader.texts).toEqual(['a: one']);
  expect(reader.missing).toMatchObject([{ nodeId: 'node-2', taskIds: ['b'] }]);
  expect(reader.missing[0]?.message).toContain('name-of-node-2');
});

test('a node that stalls half way does not hang the reader', async () => {
  await runTask('a', 'node-1');
  await runTask('b', 'node-2');
  const reader = read(ALL);
  await settle();
  nodes.at('node-1').say('a', [1, 'one']);
  nodes.at('node-1').finish();

  await clock.advanceAsync(21_000);
  await reader.done;

  expect(reader.texts).toEqual(['a: one']);
  expect(reader.missing).toMatchObject([{ nodeId: 'node-2' }]);
});

test('tasks without a container are not asked about, and without any task the reading ends', async () => {
  await store.update((tx) => {
    tx.put('tasks', aTask({ id: 'a', nodeId: 'node-1', state: 'assigned' }));
    tx.put('taskStatuses', aTaskStatus({ taskId: 'a', state: 'rejected' }));
  });

  await read(ALL).done;

  expect(nodes.requests).toEqual([]);
});

test('following, what arrives goes out at once, and new tasks of the service join in', async () => {
  await runTask('a', 'node-1');
  await runTask('b', 'node-2');
  const reader = read(FOLLOW);
  await settle();

  nodes.at('node-1').say('a', [5, 'hello']);
  await settle();
  expect(reader.texts).toEqual(['a: hello']);
  await runTask('c', 'node-1');
  await settle();
  nodes.at('node-1').say('c', [6, 'me too']);
  await settle();

  expect(reader.texts).toEqual(['a: hello', 'c: me too']);
  expect(nodes.requests.map(({ taskIds, nodeId }) => [nodeId, ...taskIds])).toEqual([
    ['node-1', 'a'],
    ['node-2', 'b'],
    ['node-1', 'c'],
  ]);
  expect(reader.hasEnded()).toBe(false);
  reader.abort.abort();
  await reader.done;
  expect(nodes.at('node-2').isClosed).toBe(true);
});

test('following, a stream that broke goes on behind the last record that was read', async () => {
  await runTask('a', 'node-1');
  const reader = read({ ...FOLLOW, tail: 10 });
  await settle();
  nodes.at('node-1').say('a', [7, 'before']);
  await settle();

  nodes.at('node-1').break('the stream to the node broke');
  await clock.advanceAsync(150);
  nodes.at('node-1').say('a', [8, 'after']);
  await settle();

  expect(reader.texts).toEqual(['a: before', 'a: after']);
  expect(reader.missing).toHaveLength(1);
  expect(nodes.requests[1]).toMatchObject({ taskIds: ['a'], sinceSeconds: 7, sinceNanos: 1, tail: -1 });
  reader.abort.abort();
  await reader.done;
});

test('following a node that stays away says so once', async () => {
  nodes.away.add('node-1');
  await runTask('a', 'node-1');
  const reader = read(FOLLOW);

  await clock.advanceAsync(20_000);

  expect(reader.missing).toHaveLength(1);
  nodes.away.clear();
  await clock.advanceAsync(2_500);
  nodes.at('node-1').say('a', [1, 'back']);
  await settle();
  expect(reader.texts).toEqual(['a: back']);
  reader.abort.abort();
  await reader.done;
});

test('following ended tasks by id ends, and following a service ends with the service', async () => {
  await runTask('a', 'node-1', 'complete');
  const byId = read(FOLLOW, { kind: 'tasks', taskIds: ['a'] } as never);
  await settle();
  nodes.at('node-1').say('a', [1, 'done']);
  nodes.at('node-1').finish();
  await byId.done;
  expect(byId.texts).toEqual(['a: done']);

  const byService = read(FOLLOW);
  await settle();
  nodes.at('node-1').finish();
  await settle();
  expect(byService.hasEnded()).toBe(false);
  await store.update((tx) => tx.delete('services', 'service-1'));
  await byService.done;
});

test('what does not exist is not found', async () => {
  const service = read(ALL, { kind: 'service', serviceId: 'nothing' } as never);
  const task = read(ALL, { kind: 'tasks', taskIds: ['nothing'] } as never);

  await expect(service.done).rejects.toMatchObject({ kind: 'notFound' });
  await expect(task.done).rejects.toMatchObject({ kind: 'notFound' });
});

test('a reader that stops lets every stream go', async () => {
  await runTask('a', 'node-1');
  const broker = new ServiceLogBroker({ store, streams: nodes, clock });
  const entries = broker
    .logs({ kind: 'service', serviceId: 'service-1' }, FOLLOW, new AbortController().signal)
    [Symbol.asyncIterator]();
  const first = entries.next();
  await settle();
  nodes.at('node-1').say('a', [1, 'one']);
  await first;

  await entries.return?.();

  expect(nodes.at('node-1').isClosed).toBe(true);
});
