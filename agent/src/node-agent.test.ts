import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock } from '@tessera/shared/env';
import { NodeDescription } from '@tessera/shared/model';
import { aTask, SeededRandom } from '@tessera/shared/testing';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { Assignment } from '@tessera/shared/wire';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeExecutor, FakeHost } from './executor/testing/index.js';
import { NodeDirectory } from './node/node-identity.js';
import { NodeAgent, type NodeParts } from './node-agent.js';
import type { NodeCredentials } from './session/index.js';
import { credentialsOf, FakeManager } from './session/testing/index.js';
import { AgentDirectory } from './storage/index.js';

let managerCredentials: NodeCredentials;
let workerCredentials: NodeCredentials;
beforeAll(async () => {
  const authority = await TestAuthority.create();
  managerCredentials = await credentialsOf(authority, 'manager', 'node-m');
  workerCredentials = await credentialsOf(authority, 'worker', 'node-w');
});

let dir: string;
let directory: NodeDirectory;
let manager: FakeManager;
let host: FakeHost;
let images: { held: string[]; changed: () => void };
let agents: NodeAgent[];
let removed: string[];
let applied: number[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-agent-'));
  directory = new NodeDirectory(join(dir, 'node'));
  manager = new FakeManager({ onSession: (session) => session.welcome() });
  await manager.listen(managerCredentials);
  directory.writeRequest(workerCredentials.keyPem, '');
  directory.writeCertificates(workerCredentials.certPem, workerCredentials.caCertPem, '');
  directory.writeIdentity({
    nodeId: 'node-w',
    clusterId: 'cluster-1',
    role: 'worker',
    managerAddrs: [manager.addr],
    incarnation: 1,
  });
  host = new FakeHost(systemClock);
  images = { held: [], changed: () => undefined };
  agents = [];
  removed = [];
  applied = [];
});
afterEach(async () => {
  for (const agent of agents) await agent.stop('end of test');
  manager.close();
  rmSync(dir, { recursive: true });
});

function fakeParts(): NodeParts {
  return {
    executor: new FakeExecutor(host),
    plane: { apply: async (_, sequence) => void applied.push(sequence) },
    images: {
      ensure: async () => ({}) as never,
      release: async () => {},
      load: async () => [],
      remove: async () => {},
      held: () => images.held,
      onChange: (listener) => {
        images.changed = listener;
        return () => undefined;
      },
      readBlob: async () => ({}) as never,
      save: async function* () {},
    },
    logs: { read: async function* () {} },
    peerPort: 7947,
    recovered: async () => {},
  };
}

function anAgent(openParts: () => Promise<NodeParts> = async () => fakeParts()): NodeAgent {
  const agent = new NodeAgent({
    directory,
    openParts,
    storage: new AgentDirectory(join(dir, 'agent')),
    addr: '10.0.0.2',
    ownManager: undefined,
    describe: (peerPort) =>
      NodeDescription.fromPartial({ hostname: 'host2', peerAddr: `10.0.0.2:${peerPort}` }),
    clock: systemClock,
    random: new SeededRandom(1),
    logger: silentLogger,
    onRemoved: (reason) => removed.push(reason),
  });
  agents.push(agent);
  return agent;
}

/** The agent dies as by kill -9: nothing of it acts any more, and nothing was said. */
async function killed(agent: NodeAgent): Promise<void> {
  agents.splice(agents.indexOf(agent), 1);
  await agent.stop('killed');
}

const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 10 });
const item = (task = aTask()) =>
  Assignment.fromPartial({ key: `task/${task.id}`, item: { $case: 'task', value: task } } as never);
const lastStateOf = (taskId: string) =>
  manager.latest
    ?.of('statuses')
    .flatMap(({ statuses }) => statuses)
    .findLast((status) => status.taskId === taskId)?.state;
/** Acknowledges what comes, as a manager whose store answers does. */
function acknowledge(): void {
  const session = manager.latest!;
  for (const { number } of session.of('statuses')) session.send({ $case: 'statusAck', value: { number } });
}

describe('a node agent', () => {
  test('runs what is assigned, acknowledges the assignments and reports the task until it runs', async () => {
    await anAgent().start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    manager.latest?.assign({ sequence: 1, full: true, items: [item()], revision: 5 });

    await until(() => {
      acknowledge();
      expect(lastStateOf('task-1')).toBe('running');
    });
    expect(host.running()).toEqual(['task-1']);
    expect(manager.latest?.of('ack')).toMatchObject([{ sequence: 1 }]);
    expect(manager.latest?.of('register')[0]).toMatchObject({
      addr: '10.0.0.2',
      incarnation: 1,
      description: { peerAddr: '10.0.0.2:7947' },
    });
  });

  test('tells when the images it holds have changed, and registers with them next time', async () => {
    const agent = anAgent();
    await agent.start();
    await until(() => expect(agent.session).toBeDefined());

    images.held = ['sha256:a'];
    images.changed();
    await until(() => expect(manager.latest?.of('report').at(-1)?.imageDigests).toEqual(['sha256:a']));
    await killed(agent);
    let open: (parts: NodeParts) => void = () => undefined;
    const next = anAgent(() => new Promise((resolve) => (open = resolve)));
    const started = next.start();

    // It registers before its parts are open, as it was.
    await until(() => expect(manager.sessions).toHaveLength(2));
    await until(() => expect(manager.latest?.of('register')[0]?.imageDigests).toEqual(['sha256:a']));
    expect(manager.latest?.of('register')[0]?.description?.peerAddr).toBe('10.0.0.2:7947');
    open(fakeParts());
    await started;
  });

  test('an agent that follows a killed one adopts its tasks and reports them anew', async () => {
    const first = anAgent();
    await first.start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    manager.latest?.assign({ sequence: 1, full: true, items: [item()] });
    await until(() => expect(host.running()).toEqual(['task-1']));
    const { pid } = host.containers.get('task-1')!;
    await killed(first);

    const second = anAgent();
    await second.start();
    await until(() => expect(lastStateOf('task-1')).toBe('running'));
    manager.latest?.assign({ sequence: 1, full: true, items: [item()] });
    await until(() => expect(manager.latest?.of('ack')).toHaveLength(1));

    expect(host.containers.get('task-1')?.pid).toBe(pid);
  });

  test('assignments that come before the containers are adopted are applied after', async () => {
    const first = anAgent();
    await first.start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    await killed(first);
    let open: (parts: NodeParts) => void = () => undefined;
    const agent = anAgent(() => new Promise((resolve) => (open = resolve)));
    const started = agent.start();
    await until(() => expect(manager.sessions).toHaveLength(2));
    manager.latest?.assign({ sequence: 1, full: true, items: [item()] });
    await until(() => expect(agent.session).toBeDefined());
    expect(host.containers.size).toBe(0);

    open(fakeParts());
    await started;

    await until(() => expect(host.running()).toEqual(['task-1']));
  });

  test('keeps what runs when it is cut off, and ends what is no longer assigned once it is back', async () => {
    await anAgent().start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    manager.latest?.assign({
      sequence: 1,
      full: true,
      items: [item(aTask({ id: 'a' })), item(aTask({ id: 'b' }))],
    });
    await until(() => expect(host.running()).toEqual(['a', 'b']));

    manager.latest?.fail(new Error('cut off'));
    await until(() => expect(manager.sessions).toHaveLength(2));
    expect(host.running()).toEqual(['a', 'b']);
    manager.latest?.assign({ sequence: 1, full: true, items: [item(aTask({ id: 'b' }))] });

    await until(() => expect(host.running()).toEqual(['b']));
  });

  test('turns away a manager of a lower incarnation, and one of another cluster', async () => {
    const agent = anAgent();
    manager.close();
    let sessions = 0;
    const odd = new FakeManager({
      onSession: (session) =>
        session.welcome(++sessions % 2 === 1 ? { incarnation: 0 } : { clusterId: 'other' }),
    });
    await odd.listen(managerCredentials);
    directory.writeIdentity({ ...directory.identity()!, managerAddrs: [odd.addr] });
    const second = anAgent();
    agents.splice(agents.indexOf(agent), 1);
    await second.start();

    await until(() => expect(sessions).toBeGreaterThan(2));

    expect(second.session).toBeUndefined();
    odd.close();
  });

  test('remembers the managers and the incarnation it has heard of', async () => {
    manager.close();
    manager = new FakeManager({ onSession: (session) => session.welcome({ incarnation: 3 }) });
    await manager.listen(managerCredentials);
    directory.writeIdentity({ ...directory.identity()!, managerAddrs: [manager.addr] });
    await anAgent().start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    manager.latest?.send({ $case: 'managers', value: { addrs: [manager.addr, '10.0.0.9:2377'] } });

    await until(() => expect(directory.identity()?.managerAddrs).toEqual([manager.addr, '10.0.0.9:2377']));
    expect(directory.identity()?.incarnation).toBe(3);
  });

  test('does not follow a set older than the one it has applied', async () => {
    await anAgent().start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    manager.latest?.assign({ sequence: 1, full: true, items: [item()], revision: 50 });
    await until(() => expect(host.running()).toEqual(['task-1']));
    manager.latest?.fail(new Error('lost'));
    await until(() => expect(manager.sessions).toHaveLength(2));

    manager.latest?.assign({ sequence: 1, full: true, items: [], revision: 49 });

    await until(() => expect(manager.sessions).toHaveLength(3));
    expect(host.running()).toEqual(['task-1']);
  });

  test('leaves nothing behind when it leaves, and says so when it is removed', async () => {
    const agent = anAgent();
    await agent.start();
    await until(() => expect(manager.sessions).toHaveLength(1));
    manager.latest?.assign({ sequence: 1, full: true, items: [item()] });
    await until(() => expect(host.running()).toEqual(['task-1']));
    manager.latest?.send({ $case: 'dismiss', value: { removed: true, reason: 'removed' } });
    await until(() => expect(removed).toEqual(['removed']));

    await agent.leave();
    agents.splice(agents.indexOf(agent), 1);

    expect(host.containers.size).toBe(0);
    expect(new AgentDirectory(join(dir, 'agent')).all().size).toBe(0);
  });
});
