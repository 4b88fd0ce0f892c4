import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ServiceError } from '@grpc/grpc-js';
import { systemClock, systemRandom } from '@tessera/shared/env';
import { type ClusterError, fromServiceError } from '@tessera/shared/errors';
import { FrameSocket } from '@tessera/shared/frames';
import { verifyImageToken } from '@tessera/shared/image-token';
import { Image, NodeDescription, NodeStatus } from '@tessera/shared/model';
import { aTask, aTaskSpec, FakeClock } from '@tessera/shared/testing';
import {
  type AgentMessage,
  CertificateAuthorityClient,
  CertificateAuthorityService,
  DispatcherClient,
  DispatcherService,
  type Frame,
  JoinRequest,
  type ManagerMessage,
  ManagerPeersClient,
  ManagerPeersService,
  Register,
  StreamRequest,
} from '@tessera/shared/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createAuthority, Signer, SigningRequest, signNode } from '../ca/index.js';
import { aNodeKey } from '../ca/testing/index.js';
import type { TlsIdentity } from './index.js';
import { METHOD_ROLES } from './roles.js';
import {
  aManager,
  CHANNEL_OPTIONS,
  channelCredentials,
  openFrames,
  type TestManager,
} from './testing/index.js';

type Identity = TlsIdentity | { readonly caCertPem: string };

let manager: TestManager;
const cleanup: (() => void)[] = [];

beforeEach(async () => {
  manager = await aManager();
  cleanup.push(() => manager.close());
});
afterEach(() => {
  for (const undo of cleanup.splice(0).reverse()) undo();
});

/** Clients of every service, as this identity. */
function clientsOf(identity: Identity) {
  const channel = [manager.addr, channelCredentials(identity), CHANNEL_OPTIONS] as const;
  const clients = {
    dispatcher: new DispatcherClient(...channel),
    peers: new ManagerPeersClient(...channel),
    authority: new CertificateAuthorityClient(...channel),
  };
  cleanup.push(() => {
    for (const client of Object.values(clients)) client.close();
  });
  return clients;
}

const outcome = <T>(call: (done: (error: ServiceError | null, reply?: T) => void) => void) =>
  new Promise<T | ClusterError>((resolve) =>
    call((error, reply) => resolve(error ? fromServiceError(error) : reply!)),
  );

/** The error a stream ends with, or what it is sent first. */
const streamOutcome = <T>(stream: NodeJS.EventEmitter) =>
  new Promise<T | ClusterError>((resolve) => {
    stream.once('error', (error) => resolve(fromServiceError(error)));
    stream.once('data', resolve);
  });

/** Calls one method, by its path, with nothing useful in the message. */
function callAny(identity: Identity, path: string): Promise<unknown> {
  const { dispatcher, peers, authority } = clientsOf(identity);
  switch (path) {
    case DispatcherService.session.path:
      return openSession(identity).first;
    case DispatcherService.locateImage.path:
      return outcome((done) => dispatcher.locateImage({ imageId: 'sha256:a' }, done));
    case ManagerPeersService.requestStream.path:
      return outcome((done) =>
        peers.requestStream({ nodeId: 'node-1', request: StreamRequest.create() }, done),
      );
    case CertificateAuthorityService.getRootCertificate.path:
      return outcome((done) => authority.getRootCertificate({}, done));
    case CertificateAuthorityService.join.path:
      return outcome((done) => authority.join(JoinRequest.create(), done));
    case CertificateAuthorityService.renew.path:
      return outcome((done) => authority.renew({ csrPem: '' }, done));
    default:
      throw new Error(`no test calls ${path}`);
  }
}

function openSession(identity: Identity, register: Partial<Register> = {}) {
  const stream = clientsOf(identity).dispatcher.session();
  const received: ManagerMessage[] = [];
  stream.on('data', (message: ManagerMessage) => received.push(message));
  const first = streamOutcome<ManagerMessage>(stream);
  stream.on('error', () => {});
  const say = (body: NonNullable<AgentMessage['body']>) => stream.write({ body });
  say({ $case: 'register', value: { ...Register.create(), ...register } });
  return { first, received, say, stream };
}

/** The kind of error each method is refused with; undefined where the call got through to its handler. */
async function refusals(identity: Identity): Promise<Record<string, string | undefined>> {
  const kinds: Record<string, string | undefined> = {};
  for (const path of METHOD_ROLES.keys()) {
    const result = await callAny(identity, path);
    kinds[path] = (result as Partial<ClusterError>).kind;
  }
  return kinds;
}

describe('roles', () => {
  test('without a certificate everything but the root certificate and joining is refused', async () => {
    const kinds = await refusals({ caCertPem: manager.identity.caCertPem });

    const open: string[] = [
      CertificateAuthorityService.getRootCertificate.path,
      CertificateAuthorityService.join.path,
    ];
    for (const [path, kind] of Object.entries(kinds))
      if (!open.includes(path)) expect({ path, kind }).toEqual({ path, kind: 'unauthenticated' });
    expect(kinds[CertificateAuthorityService.getRootCertificate.path]).toBeUndefined();
    // An empty token is no token, which only the method itself can say.
    expect(kinds[CertificateAuthorityService.join.path]).toBe('invalidArgument');
  });

  test("a worker's certificate is refused by every method that is the managers'", async () => {
    const { identity } = await manager.addNode('worker');

    const kinds = await refusals(identity);

    const managersOnly = [...METHOD_ROLES].filter(([, role]) => role === 'manager').map(([path]) => path);
    expect(managersOnly).toEqual([ManagerPeersService.requestStream.path]);
    for (const path of managersOnly) expect(kinds[path]).toBe('permissionDenied');
    expect(kinds[DispatcherService.session.path]).toBeUndefined();
  });

  test('a manager that was demoted is a worker at once, whatever its certificate says', async () => {
    const { identity, nodeId } = await manager.addNode('manager');
    const before = await callAny(identity, ManagerPeersService.requestStream.path);
    await manager.store.update((tx) => tx.put('nodes', { ...tx.nodes.get(nodeId)!, role: 'worker' }));

    const after = await callAny(identity, ManagerPeersService.requestStream.path);

    expect(before).toMatchObject({ kind: 'unavailable' });
    expect(after).toMatchObject({ kind: 'permissionDenied' });
  });

  test('a certificate that names an existing node but comes from another CA is refused', async () => {
    const { nodeId } = await manager.addNode('worker');
    const key = await aNodeKey();
    const foreign = await createAuthority('cluster-1', systemClock, systemRandom);
    const signer = await Signer.open(foreign, 'cluster-1', systemClock, systemRandom);
    const certPem = await signNode(signer, await SigningRequest.parse(key.csrPem), nodeId, 'manager');

    const kinds = await refusals({ keyPem: key.keyPem, certPem, caCertPem: manager.identity.caCertPem });

    for (const [path, role] of METHOD_ROLES)
      if (role !== 'anyone') expect({ path, kind: kinds[path] }).toEqual({ path, kind: 'unauthenticated' });
  });

  test("an API user's certificate is not a node's", async () => {
    const issued = await manager.authority.issueClientCertificate({ name: 'alice' });

    const kinds = await refusals(issued);

    for (const [path, role] of METHOD_ROLES)
      if (role !== 'anyone') expect({ path, kind: kinds[path] }).toEqual({ path, kind: 'permissionDenied' });
  });

  test('a node that was removed is told to forget the cluster, and may call nothing', async () => {
    const { identity, nodeId } = await manager.addNode('worker');
    await manager.store.update((tx) => tx.delete('nodes', nodeId));

    const first = await openSession(identity).first;

    expect(first).toMatchObject({ body: { $case: 'dismiss', value: { removed: true } } });
    const kinds = await refusals(identity);
    expect(kinds[CertificateAuthorityService.renew.path]).toBe('permissionDenied');
  });
});

describe('side streams', () => {
  /** What a stream that nobody asked for is refused with; undefined: with no word. */
  async function refusal(identity: Identity): Promise<string | undefined> {
    const stream = await openFrames(manager.addr, identity);
    cleanup.push(() => stream.destroy());
    stream.write({ body: { $case: 'open', value: 'no such stream' } });
    return new Promise((resolve) => {
      stream.once('data', ({ body }: Frame) =>
        resolve(body?.$case === 'error' ? body.value.kind : undefined),
      );
      stream.once('close', () => resolve(undefined));
    });
  }

  test('are taken from nodes of the cluster alone', async () => {
    const { caCertPem } = manager.identity;
    const worker = await manager.addNode('worker');
    const key = await aNodeKey();
    const foreign = await createAuthority('cluster-1', systemClock, systemRandom);
    const signer = await Signer.open(foreign, 'cluster-1', systemClock, systemRandom);
    const certPem = await signNode(signer, await SigningRequest.parse(key.csrPem), worker.nodeId, 'worker');

    expect(await refusal(worker.identity)).toBe('notFound');
    expect(await refusal({ caCertPem })).toBeUndefined();
    expect(await refusal({ keyPem: key.keyPem, certPem, caCertPem })).toBeUndefined();
    expect(await refusal(await manager.authority.issueClientCertificate({ name: 'alice' }))).toBe(
      'permissionDenied',
    );
  });

  test('of a node that has been removed are refused on a connection it had before as well', async () => {
    const { identity, nodeId } = await manager.addNode('worker');
    let free: Socket | undefined;
    const stream = await openFrames(manager.addr, identity, (socket) => {
      free = socket;
    });
    const refused = once(stream, 'data');
    stream.end({ body: { $case: 'open', value: 'no such stream' } });
    await refused;
    await once(stream, 'close');
    await manager.store.update((tx) => tx.delete('nodes', nodeId));

    const next = new FrameSocket(free!, { clock: systemClock });
    cleanup.push(() => next.destroy());
    next.write({ body: { $case: 'open', value: 'no such stream' } });

    const [{ body }] = (await once(next, 'data')) as [Frame];
    expect(body).toMatchObject({ $case: 'error', value: { kind: 'permissionDenied' } });
  });
});

test('who does not say who it is, by a call that is its to make, is cut off; who has said so stays', async () => {
  const clock = new FakeClock(systemClock.now());
  manager = await aManager({ clock });
  cleanup.push(() => manager.close());
  const { identity } = await manager.addNode('worker');
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(manager.addr) ?? [];
  const silent = connect({ host, port: Number(port) });
  const half = connectTls({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ['h2'] });
  await Promise.all([once(silent, 'connect'), once(half, 'secureConnect')]);
  const { dispatcher } = clientsOf(identity);
  const call = () => outcome((done) => dispatcher.locateImage({ imageId: 'sha256:none' }, done));
  expect(await call()).toMatchObject({ kind: 'permissionDenied' });
  const channel = dispatcher.getChannel();
  let isBroken = false;
  channel.watchConnectivityState(channel.getConnectivityState(false), Number.POSITIVE_INFINITY, () => {
    isBroken = true;
  });

  const cut = [silent, half].map((socket) => once(socket.resume(), 'close'));
  clock.advance(30_000);
  await Promise.all(cut);

  expect(await call()).toMatchObject({ kind: 'permissionDenied' });
  expect(isBroken).toBe(false);
});

describe('sessions over TLS', () => {
  const eventually = (check: () => void) => expect.poll(check, { timeout: 20_000 });

  test('a node registers as who its certificate says, gets its tasks, and its statuses are stored', async () => {
    const { identity, nodeId } = await manager.addNode('worker');
    await manager.store.update((tx) => {
      tx.put('specs', { serviceId: 'service-1', version: 1, task: aTaskSpec() });
      tx.put('tasks', aTask({ id: 'task-1', nodeId, state: 'assigned' }));
    });

    const session = openSession(identity, { addr: '10.0.0.7' });
    await session.first;
    await eventually(() => session.received.map(({ body }) => body?.$case)).toContain('assignments');
    session.say({
      $case: 'statuses',
      value: {
        number: 1,
        statuses: [{ ...aStatus('task-1'), nodeId: 'node-of-somebody-else' }],
        containers: [],
        volumes: [],
      },
    });

    await eventually(() => manager.store.view().taskStatuses.get('task-1')).toMatchObject({
      state: 'running',
      nodeId,
    });
    await eventually(() => session.received.map(({ body }) => body?.$case)).toContain('statusAck');
    expect(manager.store.view().nodeStatuses.get(nodeId)).toMatchObject({ state: 'ready', addr: '10.0.0.7' });
  });

  test("a worker cannot report another node's task", async () => {
    const { identity } = await manager.addNode('worker');
    await manager.store.update((tx) => {
      tx.put('specs', { serviceId: 'service-1', version: 1, task: aTaskSpec() });
      tx.put('tasks', aTask({ id: 'task-1', nodeId: manager.nodeId, state: 'assigned' }));
    });

    const session = openSession(identity);
    await session.first;
    session.say({
      $case: 'statuses',
      value: { number: 1, statuses: [aStatus('task-1')], containers: [], volumes: [] },
    });
    await eventually(() => session.received.map(({ body }) => body?.$case)).toContain('statusAck');

    expect(manager.store.view().taskStatuses.size).toBe(0);
  });

  test('a session that does not begin with Register is refused', async () => {
    const { identity } = await manager.addNode('worker');
    const stream = clientsOf(identity).dispatcher.session();
    stream.write({ body: { $case: 'ack', value: { sequence: 1 } } });

    expect(await streamOutcome(stream)).toMatchObject({ kind: 'invalidArgument' });
  });

  test('a node learns the managers and its heartbeat from the welcome', async () => {
    const { identity, nodeId } = await manager.addNode('worker');

    const session = openSession(identity);
    const welcome = (await session.first) as ManagerMessage;

    expect(welcome.body).toMatchObject({
      $case: 'welcome',
      value: { clusterId: 'cluster-1', incarnation: 1, heartbeatPeriodMs: 1_000, node: { id: nodeId } },
    });
    await eventually(() => session.received[1]?.body).toMatchObject({
      $case: 'managers',
      value: { addrs: [manager.addr] },
    });
  });
});

describe('locating an image', () => {
  beforeEach(() =>
    manager.store.update((tx) => {
      tx.put('images', Image.create({ id: 'sha256:a', configDigest: 'sha256:c' }));
      const description = NodeDescription.create({ peerAddr: '10.0.0.8:7947' });
      const holder = { nodeId: 'holder', state: 'ready' as const, description, imageDigests: ['sha256:a'] };
      tx.put('nodeStatuses', NodeStatus.fromPartial(holder));
      tx.put('nodeStatuses', NodeStatus.fromPartial({ ...holder, nodeId: 'dead', state: 'down' }));
    }),
  );

  test('a node with a task of that image is told who holds it, with a token in its own name', async () => {
    const { identity, nodeId } = await manager.addNode('worker');
    await manager.store.update((tx) => {
      const container = { ...aTaskSpec().container!, imageDigest: 'sha256:a' };
      tx.put('specs', { serviceId: 'service-1', version: 1, task: aTaskSpec({ container }) });
      tx.put('tasks', aTask({ id: 'task-1', nodeId, state: 'assigned' }));
    });

    const reply = await outcome<{ token: string }>((done) =>
      clientsOf(identity).dispatcher.locateImage({ imageId: 'sha256:a' }, done),
    );

    expect(reply).toMatchObject({ sources: [{ nodeId: 'holder', peerAddr: '10.0.0.8:7947' }] });
    const payload = verifyImageToken(
      (reply as { token: string }).token,
      identity.caCertPem,
      systemClock.now(),
    );
    expect(payload).toMatchObject({ nodeId, imageId: 'sha256:a' });
  });

  test('a node that is to hold the image may fetch it; any other may not', async () => {
    const holder = await manager.addNode('worker');
    const other = await manager.addNode('worker');
    await manager.store.update((tx) =>
      tx.put('imagePlacements', { imageId: 'sha256:a', nodeIds: [holder.nodeId] }),
    );
    const locate = ({ identity }: { identity: TlsIdentity }) =>
      outcome((done) => clientsOf(identity).dispatcher.locateImage({ imageId: 'sha256:a' }, done));

    expect(await locate(holder)).toMatchObject({ sources: [{ nodeId: 'holder' }] });
    expect(await locate(other)).toMatchObject({ kind: 'permissionDenied' });
  });
});

const aStatus = (taskId: string) => ({
  taskId,
  state: 'running' as const,
  message: '',
  error: '',
  atMs: 1,
  container: undefined,
  nodeId: '',
});
