import { silentLogger, systemClock } from '@tessera/shared/env';
import { ContainerPlacement, type ContainerState } from '@tessera/shared/model';
import { aContainer, FakeClock } from '@tessera/shared/testing';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import type { ContainerCallRequest, Frame, StreamRequest } from '@tessera/shared/wire';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { Containers } from '../containers/index.js';
import { FakeRuntime, type FakeRuntimeContainer } from '../containers/testing/index.js';
import type { NodeCredentials } from '../session/index.js';
import { credentialsOf, FakeManager } from '../session/testing/index.js';
import type { StoredContainer } from '../storage/index.js';
import { ContainerStreams } from './container-streams.js';
import { SideStreams } from './side-streams.js';

let managerCredentials: NodeCredentials;
let workerCredentials: NodeCredentials;
beforeAll(async () => {
  const authority = await TestAuthority.create();
  managerCredentials = await credentialsOf(authority, 'manager', 'node-m');
  workerCredentials = await credentialsOf(authority, 'worker', 'node-w');
});

const ID = aContainer().id;
let manager: FakeManager;
let containers: Containers;
let container: FakeRuntimeContainer;
let streams: SideStreams;
let states: ContainerState[];
/** Of the streams alone. */
let clock: FakeClock;
beforeEach(async () => {
  manager = new FakeManager();
  await manager.listen(managerCredentials);
  const runtime = new FakeRuntime(systemClock);
  container = runtime.container(ID);
  const stored = new Map<string, StoredContainer>();
  states = [];
  clock = new FakeClock();
  containers = new Containers({
    runtime,
    storage: {
      all: () => stored,
      put: (id, each) => void stored.set(id, each),
      delete: (id) => void stored.delete(id),
      sync: () => undefined,
    },
    reporter: {
      reportContainer: (state) => void states.push(state),
      forgetContainer: () => undefined,
    },
    clock: systemClock,
    logger: silentLogger,
  });
  streams = new SideStreams({
    credentials: () => workerCredentials,
    dialledAt: (managerAddr) => managerAddr,
    clock: systemClock,
    logger: silentLogger,
    logs: { read: async function* () {} },
    images: { load: async () => [], remove: async () => {}, save: async function* () {} },
    containers: new ContainerStreams({ containers, clock, logger: silentLogger }),
  });
});
afterEach(async () => {
  await streams.close();
  await containers.close();
  manager.close();
});

const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 10 });

async function assign(target: 'create' | 'start', host: object = {}, spec: object = {}): Promise<void> {
  const generation = target === 'create' ? 1 : 2;
  const made = aContainer({ target: { verb: target, generation }, host, spec } as never);
  containers.apply(
    new Map([
      [ID, { container: made, placement: ContainerPlacement.create({ containerId: ID }), volumes: [] }],
    ]),
  );
  await until(() => expect(states.at(-1)?.generation).toBe(generation));
}

/** A stream of this kind, and what the manager's end has received. */
async function open(kind: NonNullable<StreamRequest['kind']>) {
  streams.open({ streamId: 'stream-1', managerAddr: manager.addr, kind });
  await until(() => expect(manager.streams).toHaveLength(1));
  const stream = manager.streams[0]!;
  const frames: Frame['body'][] = [];
  stream.on('data', ({ body }: Frame) => frames.push(body));
  stream.on('end', () => stream.end());
  stream.on('error', () => undefined);
  return { stream, frames, kinds: () => frames.map((body) => body?.$case) };
}

const attach = (part: object = {}) =>
  open({
    $case: 'containerAttach',
    value: { containerId: ID, stdin: true, stdout: true, stderr: true, logs: false, stream: true, ...part },
  });
const call = (value: NonNullable<ContainerCallRequest['call']>, containerId = ID) =>
  open({ $case: 'containerCall', value: { containerId, call: value } });

describe('attach', () => {
  test('is ready before the start, brings what is written on both streams, and ends with the run', async () => {
    await assign('create');
    const { frames, kinds } = await attach();
    await until(() => expect(kinds()).toEqual(['open', 'ready']));
    await assign('start');
    const [client] = container.clients;
    client!.output('x'.repeat(100_000));
    client!.output('oh\n', 'stderr');
    client!.end();
    await until(() => expect(kinds().at(-1)).toBe('end'));

    const output = frames.flatMap((body) => (body?.$case === 'output' ? [body.value] : []));
    const text = (stderr: boolean) =>
      Buffer.concat(output.filter((each) => each.stderr === stderr).map(({ data }) => data)).toString();
    expect(text(false)).toBe('x'.repeat(100_000));
    expect(text(true)).toBe('oh\n');
    expect(container.clients.size).toBe(0);
  });

  test('takes input and its end, and sizes of the terminal, while output goes on', async () => {
    await assign('start');
    const { stream, kinds } = await attach();
    await until(() => expect(kinds()).toContain('ready'));
    const [client] = container.clients;
    stream.write({ body: { $case: 'data', value: Buffer.from('one ') } });
    stream.write({ body: { $case: 'resize', value: { rows: 40, columns: 120, execId: '' } } });
    stream.write({ body: { $case: 'data', value: Buffer.from('two') } });
    stream.write({ body: { $case: 'end', value: true } });
    await until(() => expect(client!.isInputEnded).toBe(true));
    expect(client!.input).toBe('one two');
    expect(container.calls).toContain('resize 40x120');
    client!.output('done\n');
    await until(() => expect(kinds()).toContain('output'));
  });

  test('without stdin takes none, and a client that goes closes nobody’s', async () => {
    await assign('start');
    const { stream, kinds } = await attach({ stdin: false });
    await until(() => expect(kinds()).toContain('ready'));
    const [client] = container.clients;
    stream.write({ body: { $case: 'data', value: Buffer.from('x') } });
    stream.end();
    await until(() => expect(container.clients.size).toBe(0));
    expect(client).toMatchObject({ input: '', isInputEnded: false });
    expect(container.life.kind).toBe('running');
  });

  test('a container waits for whoever has attached before its start, and for nobody else', async () => {
    await assign('create');
    await attach();
    await until(() => expect(container.attachOrders).toHaveLength(1));
    await assign('start');
    manager.streams.length = 0;
    await attach();
    await until(() => expect(container.attachOrders).toHaveLength(2));
    expect(container.attachOrders[0]).toMatchObject({ wait: true, patienceMs: 30_000 });
    expect(container.attachOrders[1]).not.toHaveProperty('wait');
  });

  test('a client that takes nothing does not keep a container of --rm for ever', async () => {
    await assign('create', { autoRemove: true });
    const { stream, kinds } = await attach();
    await until(() => expect(kinds()).toContain('ready'));
    await assign('start', { autoRemove: true });
    stream.pause();
    const [client] = container.clients;
    client!.output('x'.repeat(8_000_000));
    container.exit(7);
    await until(() => expect(states.at(-1)?.state).toBe('exited'));
    await until(() => {
      clock.advance(60_000);
      expect(states.at(-1)?.state).toBe('removed');
    });
  });

  test('holds a container of --rm until its client has been served, or has gone', async () => {
    await assign('create', { autoRemove: true });
    const { kinds } = await attach();
    await until(() => expect(kinds()).toContain('ready'));
    await assign('start', { autoRemove: true });
    const [client] = container.clients;
    container.exit(7);
    await until(() => expect(states.at(-1)?.state).toBe('exited'));
    client!.output('last words\n');
    client!.end();
    await until(() => expect(states.at(-1)?.state).toBe('removed'));
    expect(kinds()).toEqual(['open', 'ready', 'output', 'end']);
  });
});

describe('calls', () => {
  test('a signal is sent, and answered; what does not run conflicts; what is not here is not found', async () => {
    await assign('start');
    const { frames, kinds } = await call({ $case: 'kill', value: { signal: 9 } });
    await until(() => expect(kinds()).toEqual(['open', 'callResult', 'end']));
    expect(frames[1]).toMatchObject({ value: { result: { $case: 'done' } } });
    expect(container.calls.at(-1)).toBe('kill 9');
    manager.streams.length = 0;

    const again = await call({ $case: 'kill', value: { signal: 9 } });
    await until(() => expect(again.kinds()).toEqual(['open', 'error']));
    expect(again.frames[1]).toMatchObject({
      value: { kind: 'conflict', message: `container ${ID} is not running` },
    });
    manager.streams.length = 0;

    const unknown = await call({ $case: 'kill', value: { signal: 9 } }, 'f'.repeat(64));
    await until(() => expect(unknown.frames[1]).toMatchObject({ value: { kind: 'notFound' } }));
  });
});

const EXEC = 'e'.repeat(64);
const execCreate = (command: readonly string[], part: object = {}) =>
  call({
    $case: 'execCreate',
    value: {
      execId: EXEC,
      command,
      env: ['A=b'],
      user: 'app',
      dir: '/tmp',
      tty: true,
      attachStdin: true,
      attachStdout: true,
      attachStderr: true,
      privileged: false,
      detachKeys: '',
      rows: 0,
      columns: 0,
      ...part,
    },
  });
async function inspected() {
  manager.streams.length = 0;
  const { frames, kinds } = await call({ $case: 'execInspect', value: { execId: EXEC } });
  await until(() => expect(kinds()).toContain('callResult'));
  const body = frames[1];
  manager.streams.length = 0;
  return body?.$case === 'callResult' && body.value.result?.$case === 'exec'
    ? body.value.result.value
    : undefined;
}
async function created(command: readonly string[], part: object = {}): Promise<void> {
  await assign('start');
  const { kinds } = await execCreate(command, part);
  await until(() => expect(kinds()).toEqual(['open', 'callResult', 'end']));
  manager.streams.length = 0;
}
const start = (detach = false) =>
  open({ $case: 'execStart', value: { containerId: ID, execId: EXEC, detach, rows: 0, columns: 0 } });

describe('execs', () => {
  test('are made, run with a client of their own, and have ended when their stream has', async () => {
    await created(['sh', '-i']);
    expect(await inspected()).toMatchObject({
      containerId: ID,
      running: false,
      exitCode: undefined,
      spec: { command: ['sh', '-i'], env: ['A=b'], user: 'app', dir: '/tmp', tty: true, attachStdin: true },
    });
    const { stream, frames, kinds } = await start();
    await until(() => expect(container.exec(EXEC).clients.size).toBe(1));
    const [client] = container.exec(EXEC).clients;
    stream.write({ body: { $case: 'data', value: Buffer.from('ls\n') } });
    stream.write({ body: { $case: 'resize', value: { rows: 30, columns: 90, execId: '' } } });
    await until(() => expect(container.exec(EXEC).size).toBe('30x90'));
    client!.output('bin\n');
    client!.end();
    await until(() => expect(kinds()).toEqual(['open', 'ready', 'output']));
    container.exec(EXEC).exit(4);
    await until(() => expect(kinds().at(-1)).toBe('end'));

    expect(client!.input).toBe('ls\n');
    expect(frames[2]).toMatchObject({ value: { stderr: false, data: Buffer.from('bin\n') } });
    expect(await inspected()).toMatchObject({ running: false, exitCode: 4 });
    const again = await start();
    await until(() => expect(again.frames.at(-1)).toMatchObject({ value: { kind: 'conflict' } }));
  });

  test('whose command cannot be run tell their client why, and have its code', async () => {
    await created(['nope']);
    const { frames, kinds } = await start();
    await until(() => expect(kinds()).toEqual(['open', 'ready', 'output', 'end']));
    const output = frames[2];
    expect(output?.$case === 'output' && output.value.data.toString()).toMatch(
      /executable file not found.*\r\n/,
    );
    expect(await inspected()).toMatchObject({ exitCode: 127 });
  });

  test('that nobody is attached to run on, and a start that fails is an error', async () => {
    await created(['sleep', '1d']);
    const { kinds } = await start(true);
    await until(() => expect(kinds()).toEqual(['open', 'ready', 'end']));
    expect(await inspected()).toMatchObject({ running: true, pid: 77 });
  });

  test('take no input that was not asked for', async () => {
    await created(['cat'], { attachStdin: false });
    const { stream } = await start();
    await until(() => expect(container.exec(EXEC).clients.size).toBe(1));
    const [client] = container.exec(EXEC).clients;
    stream.write({ body: { $case: 'data', value: Buffer.from('x') } });
    stream.write({ body: { $case: 'resize', value: { rows: 1, columns: 2, execId: '' } } });
    await until(() => expect(container.exec(EXEC).size).toBe('1x2'));
    expect(client!.input).toBe('');
  });
});

describe('what it uses', () => {
  const stats = (goesOn: boolean) =>
    open({ $case: 'containerStats', value: { containerId: ID, stream: goesOn } });

  test('is read once, or each second until the container ends', async () => {
    await assign('start');
    const once = await stats(false);
    await until(() => expect(once.kinds()).toEqual(['open', 'stats', 'end']));
    manager.streams.length = 0;
    const on = await stats(true);
    await until(() => {
      clock.advance(1_000);
      expect(on.kinds().filter((kind) => kind === 'stats').length).toBeGreaterThan(1);
    });
    container.exit(0);
    await until(() => {
      clock.advance(1_000);
      expect(on.kinds().at(-1)).toBe('end');
    });
  });

  test('top shows its processes', async () => {
    await assign('start');
    const { frames, kinds } = await call({ $case: 'top', value: { psArgs: '-o args' } });
    await until(() => expect(kinds()).toContain('callResult'));
    expect(frames[1]).toMatchObject({
      value: { result: { value: { titles: ['COMMAND'], processes: [{ columns: ['sleep 1d'] }] } } },
    });
  });
});

test.each([
  ['a volume', { mounts: [{ type: 'volume', source: 'data', target: '/d' }] }, ['mount', 'unmount']],
  ['none', {}, []],
])(
  'who looks for a path in a container with %s mounts and unmounts that, found or not',
  async (_which, spec, noted) => {
    await assign('create', {}, spec);

    const { kinds } = await call({ $case: 'stat', value: { path: '/d' } });

    // This runtime has no files.
    await until(() => expect(kinds()).toContain('error'));
    const { state } = containers.get(ID);
    expect(state.events.map(({ action }) => action)).toEqual(noted);
  },
);
