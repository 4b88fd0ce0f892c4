import { aTask } from '@tessera/shared/testing';
import { LogRecord } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { LogEntry, LogOptions } from '../../logbroker/index.js';
import { ApiFixture } from '../testing/api-fixture.js';

let api: ApiFixture;
let asked: LogOptions | undefined;
beforeEach(async () => {
  api = await ApiFixture.start();
  await api.addImage();
  await api.call('POST', '/services/create', {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'busybox' } },
  });
});
afterEach(() => api[Symbol.asyncDispose]());

const record = (part: Partial<LogRecord>): LogEntry => ({
  kind: 'record',
  task: aTask({ nodeId: 'node-2' }),
  record: LogRecord.fromPartial({ taskId: 'task-1', seconds: 1_700_000_000, nanos: 5, ...part } as LogRecord),
});

function answerWith(...entries: LogEntry[]): void {
  api.logEntries = async function* (_, options) {
    asked = options;
    yield* entries;
  };
}

const logs = (query: string) => api.call('GET', `/v1.50/services/web/logs?${query}`);

/** Frames of Docker's multiplexed stream, as "STREAM TEXT". */
function frames(text: string): string[] {
  const bytes = Buffer.from(text, 'latin1');
  const found: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4);
    found.push(`${bytes[at]} ${bytes.toString('utf8', at + 8, at + 8 + length)}`);
    at += 8 + length;
  }
  return found;
}

test('lines come in frames of their stream, with time and origin before them when asked', async () => {
  answerWith(record({ line: Buffer.from('out') }), record({ line: Buffer.from('err\n'), stderr: true }));

  const plain = await logs('stdout=1&stderr=1');
  const full = await logs('stdout=1&timestamps=1&details=1');

  expect(plain.headers['content-type']).toBe('application/vnd.docker.multiplexed-stream');
  expect(frames(plain.text)).toEqual(['1 out\n', '2 err\n']);
  expect(frames(full.text)[0]).toBe(
    '1 2023-11-14T22:13:20.000000005Z com.docker.swarm.node.id=node-2,com.docker.swarm.service.id=service-1,com.docker.swarm.task.id=task-1 out\n',
  );
});

test('a line that goes on in the next record is not ended', async () => {
  answerWith(record({ line: Buffer.from('a'), partial: true }), record({ line: Buffer.from('b') }));

  expect(frames((await logs('stdout=1')).text)).toEqual(['1 a', '1 b\n']);
});

test('what could not be had is told at the end, as Swarm tells it', async () => {
  answerWith(
    { kind: 'missing', nodeId: 'node-3', taskIds: ['t'], message: 'node host3 is not available' },
    record({ line: Buffer.from('a'), gap: 7 }),
  );

  const found = frames((await logs('stdout=1')).text);

  expect(found[0]).toBe('1 a\n');
  expect(found[1]).toMatch(
    /^3 warning: incomplete log stream.*node host3 is not available, 7 lines of task task-1/,
  );
});

test('options are passed on with their units', async () => {
  answerWith();

  await logs('stdout=1&follow=1&tail=10&since=1700000000.000000001');

  expect(asked).toEqual({
    follow: true,
    tail: 10,
    sinceNs: 1_700_000_000_000_000_001n,
    untilNs: undefined,
    stdout: true,
    stderr: false,
  });
});

test.each([
  ['follow=1', 'you must choose at least one stream'],
  ['stdout=1&tail=x', 'tail'],
  ['stdout=1&since=yesterday', 'since'],
])('%s is refused', async (query, message) => {
  const answer = await logs(query);

  expect(answer.status).toBe(400);
  expect(answer.body.message).toContain(message);
});

test('a failure within the stream is a frame of it', async () => {
  api.logEntries = async function* () {
    yield record({ line: Buffer.from('a') });
    throw new Error('torn');
  };

  expect(frames((await logs('stdout=1')).text)).toEqual(['1 a\n', '3 torn']);
});
