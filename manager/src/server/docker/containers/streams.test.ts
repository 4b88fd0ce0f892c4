import { ClusterError } from '@tessera/shared/errors';
import { Task } from '@tessera/shared/model';
import { ExecState, type Frame, LogRecord } from '@tessera/shared/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import type { StreamKind } from '../../../streams/index.js';
import { ApiFixture } from '../../testing/api-fixture.js';
import { FakeContainers } from '../../testing/fake-containers.js';
import { RawClient } from '../../testing/raw-client.js';
import { frame } from '../multiplexed.js';

let api: ApiFixture;
let agents: FakeContainers;
let client: RawClient;

/** For a slow machine; what is waited for comes within milliseconds. */
const PATIENT = { timeout: 20_000 };

beforeEach(async () => {
  api = await ApiFixture.start();
  agents = new FakeContainers(api);
  await api.addImage();
  client = await RawClient.open(api.socketPath);
});
afterEach(async () => {
  client.destroy();
  agents[Symbol.dispose]();
  await api[Symbol.asyncDispose]();
});

const READY: Frame = { body: { $case: 'ready', value: true } };
const out = (text: string, stderr = false): Frame => ({
  body: { $case: 'output', value: { stderr, data: Buffer.from(text) } },
});
const dataOf = ({ body }: Frame): string =>
  body?.$case === 'data' ? Buffer.from(body.value).toString() : '';

/** What the frames of a multiplexed stream hold, one after the other. */
function contentsOf(bytes: Buffer): string {
  let text = '';
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at + 4);
    text += bytes.subarray(at + 8, at + 8 + length).toString();
    at += 8 + length;
  }
  return text;
}

const start = async (name: string, body: object = {}): Promise<string> => {
  const { body: made } = await api.call('POST', `/containers/create?name=${name}`, {
    Image: 'busybox',
    OpenStdin: true,
    ...body,
  });
  await api.call('POST', `/containers/${name}/start`);
  return (made as { Id: string }).Id;
};

/** What `cat; echo done` would do: it repeats what comes, and says so when nothing more will. */
async function* cat(_kind: StreamKind, received: AsyncIterable<Frame>): AsyncGenerator<Frame> {
  yield READY;
  for await (const one of received) {
    if (one.body?.$case === 'end') break;
    yield out(dataOf(one));
  }
  yield out('done\n');
}

const ATTACH = 'stream=1&stdin=1&stdout=1&stderr=1';

describe('attach', () => {
  test('a client that asks for an upgrade is answered 101, and its streams are told apart', async () => {
    await start('web');
    agents.onStream = async function* () {
      yield READY;
      yield out('hello\n');
      yield out('oh\n', true);
    };

    client.ask('POST', `/v1.50/containers/web/attach?${ATTACH}`);

    const head = await client.head();
    expect(head.split('\r\n')[0]).toBe('HTTP/1.1 101 UPGRADED');
    expect(head).toContain('Upgrade: tcp');
    expect(head).toContain('Content-Type: application/vnd.docker.multiplexed-stream');
    expect(await client.rest()).toEqual(
      Buffer.concat([frame(1, Buffer.from('hello\n')), frame(2, Buffer.from('oh\n'))]),
    );
  });

  test('one that does not is answered 200 with a raw stream, and may write behind its request', async () => {
    await start('web');
    agents.onStream = cat;

    client.ask('POST', `/containers/web/attach?${ATTACH}`, { upgrade: false });
    client.write('early ');
    const head = await client.head();
    client.write('late');
    client.halfClose();

    expect(head.split('\r\n')[0]).toBe('HTTP/1.1 200 OK');
    expect(head).toContain('Content-Type: application/vnd.docker.raw-stream');
    expect(contentsOf(await client.rest())).toBe('early latedone\n');
  });

  test('up to API 1.41 the media type does not tell, yet the frames are the same', async () => {
    await start('web');
    agents.onStream = cat;

    client.ask('POST', `/v1.41/containers/web/attach?${ATTACH}`);
    client.halfClose();

    expect(await client.head()).toContain('Content-Type: application/vnd.docker.raw-stream');
    expect(await client.rest()).toEqual(frame(1, Buffer.from('done\n')));
  });

  test('the head is sent only once the agent has registered the client', async () => {
    await start('web');
    let register = () => {};
    const registered = new Promise<void>((resolve) => {
      register = resolve;
    });
    let isAsked = () => {};
    const asked = new Promise<void>((resolve) => {
      isAsked = resolve;
    });
    agents.onStream = async function* () {
      isAsked();
      await registered;
      yield READY;
    };
    let hasHead = false;

    client.ask('POST', `/containers/web/attach?${ATTACH}`);
    const head = client.head().then(() => {
      hasHead = true;
    });
    await asked;
    await api.call('GET', '/_ping');
    expect(hasHead).toBe(false);
    register();
    await head;

    expect(hasHead).toBe(true);
  });

  test('half-close is passed on, and what comes afterwards still reaches the client', async () => {
    await start('web');
    agents.onStream = cat;

    client.ask('POST', `/containers/web/attach?${ATTACH}`);
    await client.head();
    client.write('a line\n');
    client.halfClose();

    expect(await client.rest()).toEqual(
      Buffer.concat([frame(1, Buffer.from('a line\n')), frame(1, Buffer.from('done\n'))]),
    );
  });

  test('a terminal is raw both ways, and its keys detach without ending the program', async () => {
    await start('tty', { Tty: true });
    const seen: string[] = [];
    agents.onStream = async function* (_kind, received) {
      yield READY;
      for await (const one of received) {
        seen.push(one.body?.$case ?? '');
        yield out(dataOf(one));
      }
    };

    client.ask('POST', `/containers/tty/attach?${ATTACH}&detachKeys=ctrl-x,q`);
    await client.head();
    client.write('ls');
    expect((await client.bytes(2)).toString()).toBe('ls');
    client.write(Buffer.from([24]));
    client.write('a');
    expect(await client.bytes(2)).toEqual(Buffer.from([24, 97]));
    client.write(Buffer.from([24, 113]));

    expect((await client.rest()).toString()).toBe('');
    expect(seen).toEqual(['data', 'data']);
  });

  test('the log alone ends where the log does, though the container runs on', async () => {
    const id = await start('web');
    let asked: unknown;
    const line = (part: Partial<LogRecord>) => ({
      kind: 'record' as const,
      task: Task.fromPartial({ id }),
      record: LogRecord.fromPartial({ taskId: id, ...part }),
    });
    api.logEntries = async function* (_selector, options) {
      asked = options;
      yield line({ line: Buffer.from('before') });
      yield line({ line: Buffer.from('oh\n'), stderr: true });
    };

    client.ask('POST', '/containers/web/attach?logs=1&stream=0&stdout=1&stderr=1');

    expect((await client.head()).split('\r\n')[0]).toBe('HTTP/1.1 101 UPGRADED');
    expect(await client.rest()).toEqual(
      Buffer.concat([frame(1, Buffer.from('before\n')), frame(2, Buffer.from('oh\n'))]),
    );
    expect(asked).toMatchObject({ follow: false, tail: -1, stdout: true, stderr: true });
  });

  test('what an agent refuses is answered in JSON; so is a container that there is not, or that is paused', async () => {
    await start('web');
    agents.onStream = () => {
      throw new ClusterError('resourceExhausted', 'too many clients');
    };
    client.ask('POST', `/containers/web/attach?${ATTACH}`);
    expect((await client.head()).split('\r\n')[0]).toBe('HTTP/1.1 500 Internal Server Error');
    expect((await client.rest()).toString()).toBe('{"message":"too many clients"}\n');

    expect((await api.call('POST', `/containers/none/attach?${ATTACH}`)).status).toBe(404);
    expect((await api.call('POST', '/containers/web/attach')).status).toBe(400);
    await api.call('POST', '/containers/web/pause');
    expect((await api.call('POST', `/containers/web/attach?${ATTACH}`)).status).toBe(409);
  });

  test('an agent that is lost ends the stream with an error that clients read', async () => {
    await start('web');
    agents.onStream = async function* () {
      yield READY;
      yield out('so far\n');
      throw new ClusterError('unavailable', 'the stream to the node broke');
    };

    client.ask('POST', `/containers/web/attach?${ATTACH}`);
    await client.head();

    expect(await client.rest()).toEqual(
      Buffer.concat([
        frame(1, Buffer.from('so far\n')),
        frame(3, Buffer.from('the stream to the node broke')),
      ]),
    );
  });

  test('a client that goes lets the stream go', async () => {
    await start('web');
    let isClosed = false;
    agents.onStream = async function* (kind, received) {
      try {
        yield* cat(kind, received);
      } finally {
        isClosed = true;
      }
    };
    client.ask('POST', `/containers/web/attach?${ATTACH}`);
    await client.head();

    client.destroy();

    await expect.poll(() => isClosed, PATIENT).toBe(true);
  });

  test('a WebSocket carries the same as binary messages', async () => {
    await start('web');
    agents.onStream = cat;
    const socket = new WebSocket(`ws+unix://${api.socketPath}:/containers/web/attach/ws?${ATTACH}`);
    const messages: string[] = [];
    socket.on('message', (data: Buffer) => messages.push(data.toString()));
    await new Promise((resolve) => socket.once('open', resolve));

    socket.send('hello');

    await expect.poll(() => messages.join(''), PATIENT).toBe('hello');
    socket.close();
  });
});

describe('exec', () => {
  test('a command is created, started with its input behind the JSON, and inspected', async () => {
    const containerId = await start('web');
    const created: unknown[] = [];
    agents.onStream = async function* (kind, received) {
      if (kind.$case === 'execStart') return yield* cat(kind, received);
      if (kind.$case !== 'containerCall') throw new Error(kind.$case);
      const { call } = kind.value;
      created.push(call?.value);
      const spec = created[0] as never;
      const state = { execId: '', containerId, spec, running: false, exitCode: 3, pid: 0 };
      const result =
        call?.$case === 'execInspect'
          ? ({ $case: 'exec', value: state } as const)
          : ({ $case: 'done', value: {} } as const);
      yield { body: { $case: 'callResult', value: { result } } };
    };

    const { status, body } = await api.call('POST', '/containers/web/exec', {
      Cmd: ['cat', '-'],
      AttachStdin: true,
      AttachStdout: true,
      WorkingDir: '/tmp',
      Env: ['A=b'],
    });
    const id = (body as { Id: string }).Id;
    client.ask('POST', `/exec/${id}/start`, { body: '{"Detach":false,"Tty":false}' });
    client.write('input');
    client.halfClose();

    expect(status).toBe(201);
    expect(created[0]).toMatchObject({
      execId: id,
      command: ['cat', '-'],
      dir: '/tmp',
      env: ['A=b'],
      attachStdin: true,
    });
    expect(id.startsWith(containerId.slice(0, 32))).toBe(true);
    expect((await client.head()).split('\r\n')[0]).toBe('HTTP/1.1 101 UPGRADED');
    expect(await client.rest()).toEqual(
      Buffer.concat([frame(1, Buffer.from('input')), frame(1, Buffer.from('done\n'))]),
    );
    expect((await api.call('GET', `/exec/${id}/json`)).body).toMatchObject({
      ID: id,
      Running: false,
      ExitCode: 3,
      ContainerID: containerId,
      ProcessConfig: { entrypoint: 'cat', arguments: ['-'] },
    });
    expect((await api.call('POST', `/exec/${id}/resize?h=24&w=80`)).status).toBe(200);
    expect(created.at(-1)).toMatchObject({ execId: id, rows: 24, columns: 80 });
  });

  test('its terminal has the first size and the detach keys that its create said, whoever starts it', async () => {
    const containerId = await start('web');
    const asked: StreamKind[] = [];
    let spec: unknown;
    agents.onStream = async function* (kind) {
      asked.push(kind);
      if (kind.$case === 'execStart') {
        yield READY;
        yield { body: { $case: 'output', value: { stderr: false, data: Buffer.from('$ ') } } };
        return;
      }
      const call = kind.$case === 'containerCall' ? kind.value.call : undefined;
      if (call?.$case === 'execCreate') spec = call.value;
      const state = {
        execId: '',
        containerId,
        spec: spec as never,
        running: false,
        exitCode: undefined,
        pid: 0,
      };
      const result =
        call?.$case === 'execInspect'
          ? ({ $case: 'exec', value: state } as const)
          : ({ $case: 'done', value: {} } as const);
      yield { body: { $case: 'callResult', value: { result } } };
    };
    const { body } = await api.call('POST', '/containers/web/exec', {
      Cmd: ['sh'],
      Tty: true,
      DetachKeys: 'ctrl-x',
      ConsoleSize: [24, 80],
    });
    const { Id } = body as { Id: string };
    expect(spec).toMatchObject({ detachKeys: 'ctrl-x', rows: 24, columns: 80 });

    client.ask('POST', `/exec/${Id}/start`, { body: '{"Detach":false,"Tty":true,"ConsoleSize":[30,90]}' });
    await client.rest();

    expect(asked.at(-1)).toMatchObject({ $case: 'execStart', value: { rows: 30, columns: 90 } });
    expect((await api.call('GET', `/exec/${Id}/json`)).body).toMatchObject({ DetachKeys: 'ctrl-x' });
  });

  test('how it ended can be asked for when its container is gone', async () => {
    const id = await start('web');
    let state: ExecState | undefined;
    agents.onStream = async function* (kind) {
      const call = kind.$case === 'containerCall' ? kind.value.call : undefined;
      if (call?.$case === 'execCreate') state = ExecState.fromPartial({ spec: call.value, exitCode: 137 });
      if (kind.$case !== 'execStart') {
        yield { body: { $case: 'callResult', value: { result: { $case: 'done', value: {} } } } };
        return;
      }
      yield READY;
      yield { body: { $case: 'execEnded', value: state! } };
    };
    const { body } = await api.call('POST', '/containers/web/exec', { Cmd: ['sleep', '9'] });
    const { Id } = body as { Id: string };

    client.ask('POST', `/exec/${Id}/start`, { body: '{}' });
    await client.rest();
    await api.store.update((tx) => tx.delete('containers', id));

    expect(await api.call('GET', `/exec/${Id}/json`)).toMatchObject({
      status: 200,
      body: { ExitCode: 137, Running: false, ContainerID: id },
    });
  });

  test('a detached one is answered once it has begun', async () => {
    await start('web');
    const asked: StreamKind[] = [];
    agents.onStream = async function* (kind) {
      asked.push(kind);
      yield kind.$case === 'execStart'
        ? READY
        : { body: { $case: 'callResult', value: { result: { $case: 'done', value: {} } } } };
    };
    const { body } = await api.call('POST', '/containers/web/exec', { Cmd: ['true'] });

    const answer = await api.call('POST', `/exec/${(body as { Id: string }).Id}/start`, { Detach: true });

    expect(answer.status).toBe(200);
    expect(asked.at(-1)).toMatchObject({ $case: 'execStart', value: { detach: true } });
  });

  test('what does not run, is not there, or says no command is refused', async () => {
    const id = await start('web');
    expect((await api.call('POST', '/containers/web/exec', { Cmd: [] })).status).toBe(400);
    expect(await api.call('POST', `/exec/${'0'.repeat(64)}/start`, {})).toMatchObject({
      status: 404,
      body: { message: `No such exec instance: ${'0'.repeat(64)}` },
    });
    await api.call('POST', '/containers/web/pause');
    expect((await api.call('POST', '/containers/web/exec', { Cmd: ['true'] })).status).toBe(409);
    await api.call('POST', '/containers/web/unpause');
    await api.call('POST', '/containers/web/stop');
    expect(await api.call('POST', '/containers/web/exec', { Cmd: ['true'] })).toMatchObject({
      status: 409,
      body: { message: `container ${id} is not running` },
    });
  });
});

describe('calls', () => {
  test('top and changes have the shapes of Docker', async () => {
    await start('web');
    agents.onStream = async function* (kind) {
      const call = kind.$case === 'containerCall' ? kind.value.call?.$case : undefined;
      const result =
        call === 'top'
          ? ({
              $case: 'top',
              value: { titles: ['PID', 'CMD'], processes: [{ columns: ['1', 'sleep'] }] },
            } as const)
          : ({
              $case: 'changes',
              value: { changes: [{ path: '/new', kind: 'added' as const }] },
            } as const);
      yield { body: { $case: 'callResult', value: { result } } };
    };

    expect((await api.call('GET', '/containers/web/top')).body).toEqual({
      Titles: ['PID', 'CMD'],
      Processes: [['1', 'sleep']],
    });
    expect((await api.call('GET', '/containers/web/changes')).body).toEqual([{ Path: '/new', Kind: 1 }]);
  });

  test('sizes are asked of agents; one that cannot be reached is left out', async () => {
    const id = await start('web', { Env: ['constraint:node==host1'] });
    await start('far', { Env: ['constraint:node==host2'] });
    agents.onStream = async function* (kind, _received, nodeId) {
      if (nodeId === 'node-2') throw new ClusterError('unavailable', 'the node has no session');
      expect(kind).toMatchObject({ value: { call: { $case: 'size' } } });
      yield {
        body: { $case: 'callResult', value: { result: { $case: 'size', value: { writtenBytes: 7 } } } },
      };
    };

    const sized = { Id: id, SizeRw: 7, SizeRootFs: 4_261_557 };
    const { body: list } = await api.call('GET', '/containers/json?size=1');
    expect((list as object[])[1]).toMatchObject(sized);
    expect((list as object[])[0]).not.toHaveProperty('SizeRw');
    expect((await api.call('GET', '/containers/web/json?size=true')).body).toMatchObject(sized);
    expect((await api.call('GET', '/system/df')).body).toMatchObject({
      LayersSize: expect.any(Number),
      Images: [{ Containers: 2 }],
      Containers: [{}, sized],
      Volumes: [],
    });
    expect((await api.call('POST', '/build/prune')).body).toEqual({ CachesDeleted: null, SpaceReclaimed: 0 });
    expect((await api.call('GET', '/system/df?type=image')).body).toMatchObject({ Containers: null });
    expect((await api.call('GET', '/system/df?type=nonsense')).status).toBe(400);
  });

  test('statistics come with those before them; asked once, one line with two readings', async () => {
    await start('web');
    agents.onStream = async function* () {
      for (let second = 1; ; second++) {
        const value = { readAtMs: second * 1_000, cpuNanos: second * 10, hostCpuNanos: second * 100 };
        yield {
          body: {
            $case: 'stats',
            value: {
              ...value,
              cpuUserNanos: 0,
              cpuSystemNanos: 0,
              onlineCpus: 2,
              throttledPeriods: 0,
              periods: 0,
              throttledNanos: 0,
              memoryBytes: 5,
              memoryMaxBytes: 0,
              memoryLimitBytes: 50,
              memoryStat: { cache: 1 },
              pids: 1,
              pidsLimit: 0,
              networks: [],
              blkio: [],
            },
          },
        };
      }
    };

    expect((await api.call('GET', '/containers/web/stats?stream=0')).body).toMatchObject({
      name: '/web',
      cpu_stats: { cpu_usage: { total_usage: 20 }, system_cpu_usage: 200, online_cpus: 2 },
      precpu_stats: { cpu_usage: { total_usage: 10 }, system_cpu_usage: 100 },
      memory_stats: { usage: 5, limit: 50, stats: { cache: 1 } },
    });
    expect((await api.call('GET', '/containers/web/stats?stream=0&one-shot=1')).body).toMatchObject({
      cpu_stats: { cpu_usage: { total_usage: 10 } },
      precpu_stats: { cpu_usage: { total_usage: 0 } },
    });
  });
});
