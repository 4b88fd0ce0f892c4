import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { NodeDescription } from '@tessera/shared/model';
import { SeededRandom } from '@tessera/shared/testing';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseConfig } from './config.js';
import { Daemon, type OpenParts, type Supervisor } from './daemon.js';
import { FakeExecutor, FakeHost } from './executor/testing/index.js';
import type { InitRequest } from './local-api/index.js';
import { NodeDirectory } from './node/node-identity.js';
import { credentialsOf, FakeManager } from './session/testing/index.js';

let authority: TestAuthority;
let manager: FakeManager;
beforeAll(async () => {
  authority = await TestAuthority.create();
});

let dir: string;
let directory: NodeDirectory;
let host: FakeHost;
let daemons: Daemon[];
/** What happened to the manager, the API socket and the parts, in order. */
let events: string[];
let managerArgs: string[];
let managerRuns: boolean;
let managerFails: boolean;
/** What the cluster knows the manager by; undefined: where it listens. */
let advertised: string | undefined;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-daemon-'));
  directory = new NodeDirectory(join(dir, 'node'));
  host = new FakeHost(systemClock);
  [daemons, events, managerArgs] = [[], [], []];
  [managerRuns, managerFails, advertised] = [false, false, undefined];
  manager = new FakeManager({ onSession: (session) => session.welcome() });
  await manager.listen(await credentialsOf(authority, 'manager', 'node-m'));
});
afterEach(async () => {
  for (const daemon of daemons) await daemon.stop('end of test');
  manager.close();
  rmSync(dir, { recursive: true });
});

/** A manager that, with `--init`, issues the node's certificate as the real one does. */
function aSupervisor(onChange: (up: boolean) => void): Supervisor {
  return {
    get running() {
      return managerRuns;
    },
    start(args) {
      managerArgs = [...args];
      events.push('manager started');
    },
    async ready(signal) {
      signal.throwIfAborted();
      if (managerFails)
        throw new ClusterError('failedPrecondition', 'the manager could not start: port taken');
      const csrPem = readFileSync(join(directory.path, 'csr.pem'), 'utf8');
      const certPem = await authority.issueFor(csrPem, { nodeId: 'node-1', role: 'manager' });
      directory.writeCertificates(certPem, authority.caCertPem, '');
      directory.writeIdentity({
        nodeId: 'node-1',
        clusterId: 'cluster-1',
        role: 'manager',
        managerAddrs: [advertised ?? manager.addr],
        incarnation: 1,
      });
      managerRuns = true;
      onChange(true);
    },
    async release() {
      events.push('manager released');
    },
    async stop() {
      events.push('manager stopped');
      managerRuns = false;
    },
  };
}

function aDaemon(openParts: () => Promise<OpenParts> = async () => fakeParts()): Daemon {
  const parsed = parseConfig(['--data-dir', dir, '--run-dir', dir, '--hostname', 'host1'], {});
  if (parsed.kind !== 'run') throw new Error('no configuration');
  const daemon = new Daemon({
    config: parsed.config,
    directory,
    openParts,
    newSupervisor: aSupervisor,
    describe: () => NodeDescription.create(),
    host: () => ({}) as never,
    serveApi: async (serve) => void events.push(serve ? 'API taken' : 'API given up'),
    clock: systemClock,
    random: new SeededRandom(1),
    logger: silentLogger,
  });
  daemons.push(daemon);
  return daemon;
}

const fakeParts = (): OpenParts => ({
  executor: new FakeExecutor(host),
  plane: { apply: async () => {} },
  images: {
    ensure: async () => ({}) as never,
    release: async () => {},
    load: async () => [],
    remove: async () => {},
    held: () => [],
    onChange: () => () => undefined,
    readBlob: async () => ({}) as never,
    save: async function* () {},
  },
  logs: { read: async function* () {} },
  peerPort: 7947,
  recovered: async () => {},
  close: async () => void events.push('parts closed'),
  clear: async () => void events.push('parts cleared'),
});

const initBody = (part: Partial<InitRequest> = {}): InitRequest => ({
  ListenAddr: '127.0.0.1:2377',
  AdvertiseAddr: '127.0.0.1',
  DataPathAddr: '',
  ForceNewCluster: false,
  AutoLockManagers: false,
  ...part,
});
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 10 });

describe('a new cluster', () => {
  test('its manager is started with what was asked for, and takes over the API; the node gets a session', async () => {
    const daemon = aDaemon();
    await daemon.start();

    const nodeId = await daemon.init(
      initBody({
        DefaultAddrPool: ['10.20.0.0/16', '10.30.0.0/16'],
        SubnetSize: 26,
        DataPathPort: 5000,
        Spec: { Orchestration: { TaskHistoryRetentionLimit: 9 }, Dispatcher: { HeartbeatPeriod: 2e9 } },
      }),
    );

    expect(nodeId).toBe('node-1');
    expect(events).toEqual(['API taken', 'manager started', 'API given up']);
    const flags = managerArgs.join(' ');
    expect(flags).toContain('--init');
    expect(flags).toContain(
      '--default-addr-pool 10.20.0.0/16 --default-addr-pool 10.30.0.0/16 --subnet-size 26',
    );
    expect(flags).toContain('--listen-addr 127.0.0.1:2377 --advertise-addr 127.0.0.1:2377 --hostname host1');
    expect(flags).toContain('--data-path-port 5000');
    expect(flags).toContain('--task-history-limit 9 --heartbeat-period-ms 2000');
    // The node dials its own manager first: nothing is there in this test, so it goes on to the known one.
    await until(() => expect(daemon.status().session?.managerAddr).toBe(manager.addr));
    expect(daemon.swarm()).toMatchObject({
      LocalNodeState: 'active',
      NodeID: 'node-1',
      NodeAddr: '127.0.0.1',
    });
  });

  test('a node reaches its own manager though nothing on this host reaches the advertised address', async () => {
    // 203.0.113.0/24 is for documentation (RFC 5737): like the outside of a NAT, it leads nowhere.
    advertised = '203.0.113.7:2377';
    const daemon = aDaemon();
    await daemon.start();

    const port = manager.addr.split(':')[1];
    await daemon.init(initBody({ ListenAddr: `0.0.0.0:${port}`, AdvertiseAddr: advertised }));

    await until(() => expect(daemon.status().session?.sessionId).toBe('session-1'));
    const session = manager.latest!;
    await until(() => expect(session.of('register')[0]).toMatchObject({ managerAddr: advertised }));
    session.request({
      streamId: 'stream-1',
      managerAddr: advertised,
      kind: { $case: 'imageLoad', value: { quiet: true, lends: false } },
    });
    await until(() => expect(manager.streams).toHaveLength(1));
  });

  test('a manager that cannot start leaves the node as it was, and its reason is told', async () => {
    const daemon = aDaemon();
    await daemon.start();
    managerFails = true;

    await expect(daemon.init(initBody())).rejects.toThrow('the manager could not start: port taken');

    expect(daemon.swarm().LocalNodeState).toBe('inactive');
    expect(existsSync(directory.path)).toBe(false);
    expect(events.slice(-2)).toEqual(['manager stopped', 'API taken']);
    managerFails = false;
    expect(await daemon.init(initBody())).toBe('node-1');
  });

  test('a node that is in a cluster makes no other one', async () => {
    const daemon = aDaemon();
    await daemon.start();
    await daemon.init(initBody());

    await expect(daemon.init(initBody())).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(daemon.join({ ...initBody(), RemoteAddrs: ['127.0.0.1'], JoinToken: 'x' })).rejects.toThrow(
      'already part of a cluster',
    );
  });

  test('two requests at once make one cluster', async () => {
    const daemon = aDaemon();
    await daemon.start();

    const results = await Promise.allSettled([daemon.init(initBody()), daemon.init(initBody())]);

    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });
});

describe('a restart', () => {
  test('goes on in the cluster, and leaves the API to a manager that has lived on', async () => {
    const first = aDaemon();
    await first.start();
    await first.init(initBody());
    await first.stop('upgrade');
    daemons = [];
    expect(events.slice(-2)).toEqual(['parts closed', 'manager released']);
    events = [];

    const second = aDaemon();
    await second.start();

    expect(events).toEqual(['manager started']);
    expect(managerArgs).not.toContain('--init');
    expect(second.status()).toMatchObject({ state: 'active', nodeId: 'node-1', role: 'manager' });
  });

  test('answers at the API itself while the manager is not there', async () => {
    const first = aDaemon();
    await first.start();
    await first.init(initBody());
    await first.stop('power cut');
    daemons = [];
    managerRuns = false;
    events = [];

    await aDaemon().start();

    expect(events).toEqual(['manager started', 'API taken']);
  });

  test('after a death in the middle of an init there is no cluster, and no manager either', async () => {
    directory.writeRequest('key', 'csr');
    directory.writeSettings({ listenAddr: 'x:1', advertiseAddr: 'x:1', dataPathAddr: 'x' });
    managerRuns = true;

    const daemon = aDaemon();
    await daemon.start();

    expect(daemon.swarm().LocalNodeState).toBe('inactive');
    expect(events).toContain('manager stopped');
    expect(existsSync(directory.path)).toBe(false);
  });
});

describe('leaving', () => {
  test('a manager leaves by force alone, and nothing of the cluster stays', async () => {
    const daemon = aDaemon();
    await daemon.start();
    await daemon.init(initBody());

    expect(() => daemon.leave(false)).toThrow('participating as a manager');
    await daemon.leave(true);

    expect(daemon.swarm().LocalNodeState).toBe('inactive');
    expect(events.slice(-3)).toEqual(['parts cleared', 'manager stopped', 'API taken']);
    expect(existsSync(directory.path)).toBe(false);
    expect(existsSync(join(dir, 'agent'))).toBe(false);
    expect(() => daemon.leave(true)).toThrow('This node is not part of a cluster');
  });

  test('a node that was removed while it was down learns it at its start, and starts all the same', async () => {
    const first = aDaemon();
    await first.start();
    await first.init(initBody());
    await first.stop('power cut');
    daemons = [];
    const sessions = manager.sessions.length;
    let open: () => void = () => undefined;
    const mayOpen = new Promise<void>((resolve) => {
      open = resolve;
    });

    const second = aDaemon(async () => {
      await mayOpen;
      // The real parts read the node's certificates and refuse to open without them.
      directory.credentials();
      return fakeParts();
    });
    const started = second.start();
    await until(() => expect(manager.sessions.length).toBeGreaterThan(sessions));
    manager.latest?.send({ $case: 'dismiss', value: { removed: true, reason: 'removed' } });
    await until(() => expect(second.swarm().LocalNodeState).toBe('pending'));
    events = [];
    open();

    await started;
    await until(() => expect(second.swarm().LocalNodeState).toBe('inactive'));
    expect(events).toEqual(['parts cleared', 'manager stopped', 'API taken']);
    expect(existsSync(directory.path)).toBe(false);
  });
});

test('what cannot be honoured is refused before anything is written', async () => {
  const daemon = aDaemon();
  await daemon.start();

  await expect(daemon.init(initBody({ AdvertiseAddr: '0.0.0.0' }))).rejects.toMatchObject({
    kind: 'invalidArgument',
  });
  await expect(daemon.init(initBody({ Spec: { CAConfig: { NodeCertExpiry: 1 } } }))).rejects.toThrow(
    'Spec.CAConfig.NodeCertExpiry',
  );
  await expect(daemon.init(initBody({ ListenAddr: 'no-such-interface' }))).rejects.toMatchObject({
    kind: 'invalidArgument',
  });

  expect(existsSync(directory.path)).toBe(false);
  expect(daemon.swarm().LocalNodeState).toBe('inactive');
});
