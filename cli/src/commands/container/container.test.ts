import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeApi, reply } from '../../testing/fake-api.js';

let api: FakeApi;
beforeEach(async () => {
  api = await FakeApi.start();
});
afterEach(() => api[Symbol.asyncDispose]());

const ID = 'a'.repeat(64);
const frame = (stream: number, text: string): Buffer => {
  const head = Buffer.alloc(8);
  head[0] = stream;
  head.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([head, Buffer.from(text)]);
};
/** Answers one attach or exec: the frames, and the end. */
const streams = (...frames: Buffer[]) =>
  api.onUpgrade((socket: Socket) => {
    socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
    socket.end(Buffer.concat(frames));
  });

describe('run', () => {
  test('attaches and waits before it starts; output and exit code are those of the command', async () => {
    api
      .on('POST /containers/create', { Id: ID })
      .on(`POST /containers/${ID}/wait`, { StatusCode: 7 })
      .on(`POST /containers/${ID}/start`, {});
    streams(frame(1, 'out\n'), frame(2, 'err\n'));

    const outcome = await api.tsctl(
      'run',
      '--rm',
      '-e',
      'FROM_HERE',
      '-m',
      '64m',
      'busybox',
      'sh',
      '-c',
      'exit 7',
    );

    expect(outcome).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' });
    expect(api.calls.map(({ method, path }) => `${method} ${path.replace(ID, 'ID')}`)).toEqual([
      'POST /containers/create',
      'UPGRADE /containers/ID/attach',
      'POST /containers/ID/wait',
      'POST /containers/ID/start',
    ]);
    expect(api.calls[0]?.body).toMatchObject({
      Image: 'busybox',
      Cmd: ['sh', '-c', 'exit 7'],
      Env: ['FROM_HERE=yes'],
      HostConfig: { AutoRemove: true, Memory: 64 * 2 ** 20 },
    });
    expect(api.calls[2]?.query.get('condition')).toBe('removed');
  });

  test('detached it prints the id', async () => {
    api.on('POST /containers/create', { Id: ID }).on(`POST /containers/${ID}/start`, {});

    const { code, stdout } = await api.tsctl(
      'run',
      '-d',
      '--name',
      'web',
      '-p',
      '127.0.0.1:8080:80',
      'busybox',
    );

    expect([code, stdout]).toEqual([0, `${ID}\n`]);
    expect(api.calls[0]?.query.get('name')).toBe('web');
    expect(api.calls[0]?.body.HostConfig.PortBindings).toEqual({
      '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }],
    });
  });

  test.each([
    ['exec: "nosuch": executable file not found in $PATH', 127],
    ['exec: "/etc": is a directory', 126],
    ['no space left', 125],
  ])('a start that fails with %j ends with %d', async (message, code) => {
    api
      .on('POST /containers/create', { Id: ID })
      .on(`POST /containers/${ID}/start`, (_: unknown, response: never) => reply(response, 400, { message }));

    expect(await api.tsctl('run', '-d', 'busybox', 'nosuch')).toMatchObject({ code });
  });
});

test('exec ends with the code of the command', async () => {
  api.on('POST /containers/web/exec', { Id: 'e1' }).on('GET /exec/e1/json', { ExitCode: 3 });
  streams(frame(1, 'hi\n'));

  expect(await api.tsctl('exec', '-w', '/tmp', 'web', 'echo', '-n', 'hi')).toMatchObject({
    code: 3,
    stdout: 'hi\n',
  });
  expect(api.calls[0]?.body).toMatchObject({
    Cmd: ['echo', '-n', 'hi'],
    WorkingDir: '/tmp',
    AttachStdin: false,
  });
});

test('ps shows what docker ps shows', async () => {
  api.on('GET /containers/json', [
    {
      Id: ID,
      Names: ['/web'],
      Image: 'busybox',
      Command: 'sleep a very long time',
      Created: Date.parse('2026-11-21T11:55:00Z') / 1_000,
      State: 'running',
      Status: 'Up 5 minutes',
      Ports: [{ IP: '0.0.0.0', PrivatePort: 80, PublicPort: 8080, Type: 'tcp' }],
      Labels: {},
      NetworkSettings: { Networks: { bridge: {} } },
    },
  ]);

  const { stdout } = await api.tsctl('ps', '-a', '--filter', 'node=host1');

  expect(stdout).toBe(
    [
      'CONTAINER ID   IMAGE     COMMAND                  CREATED         STATUS         PORTS                  NAMES',
      'aaaaaaaaaaaa   busybox   "sleep a very long t…"   5 minutes ago   Up 5 minutes   0.0.0.0:8080->80/tcp   web',
      '',
    ].join('\n'),
  );
  expect(Object.fromEntries(api.calls[0]!.query)).toEqual({ all: 'true', filters: '{"node":["host1"]}' });
});

test('verbs are asked of each container, and go on after a failure', async () => {
  api.on('POST /containers/a1/stop', {}).on('POST /containers/c3/stop', {});

  const outcome = await api.tsctl('container', 'stop', '-t', '3', 'a1', 'b2', 'c3');

  expect(outcome).toMatchObject({ code: 1, stdout: 'a1\nc3\n' });
  expect(api.calls[0]?.query.get('t')).toBe('3');
});
