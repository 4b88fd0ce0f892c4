import { silentLogger, systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { aTaskStatus, SeededRandom } from '@tessera/shared/testing';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { Register } from '@tessera/shared/wire';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { NodeCredentials } from './manager-channel.js';
import { SessionLoop } from './session-loop.js';
import { StatusOutbox } from './status-outbox.js';
import { credentialsOf, FakeManager } from './testing/index.js';

let authority: TestAuthority;
let managerCredentials: NodeCredentials;
let workerCredentials: NodeCredentials;
beforeAll(async () => {
  authority = await TestAuthority.create();
  managerCredentials = await credentialsOf(authority, 'manager', 'node-m');
  workerCredentials = await credentialsOf(authority, 'worker', 'node-w');
});

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function aManager(
  options: ConstructorParameters<typeof FakeManager>[0] = { onSession: (session) => session.welcome() },
  credentials = managerCredentials,
): Promise<FakeManager> {
  const manager = new FakeManager(options);
  await manager.listen(credentials);
  closers.push(() => manager.close());
  return manager;
}

interface Told {
  readonly welcomes: string[];
  readonly managers: (readonly string[])[];
  removed: string | undefined;
}
let outbox: StatusOutbox;
let told: Told;
beforeEach(() => {
  outbox = new StatusOutbox();
  told = { welcomes: [], managers: [], removed: undefined };
});

function aLoop(addrs: readonly string[], onWelcome: () => void = () => undefined): SessionLoop {
  const loop: SessionLoop = new SessionLoop({
    clock: systemClock,
    random: new SeededRandom(1),
    logger: silentLogger,
    managerAddrs: () => addrs,
    onRemoved: (reason) => {
      told.removed = reason;
    },
    open: () => ({
      credentials: workerCredentials,
      outbox,
      register: () => Register.fromPartial({ addr: '10.0.0.2', incarnation: 1 }),
      handlers: {
        onWelcome: (welcome) => {
          onWelcome();
          told.welcomes.push(welcome.sessionId);
          outbox.begin([], () => loop.session?.sendStatuses());
        },
        onAssignments: () => undefined,
        onStreamRequest: () => undefined,
        onManagers: (list) => told.managers.push(list),
      },
    }),
  });
  closers.push(() => loop.stop());
  loop.start();
  return loop;
}
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 10 });

describe('a session', () => {
  test('begins with the registration and beats in the period that the manager says', async () => {
    const manager = await aManager({ onSession: (s) => s.welcome({ heartbeatPeriodMs: 20 }) });
    aLoop([manager.addr]);

    await until(() => expect(manager.latest?.of('heartbeat').length).toBeGreaterThan(3));
    expect(manager.latest?.received[0]?.$case).toBe('register');
    expect(manager.latest?.of('register')[0]?.addr).toBe('10.0.0.2');
  });

  test('sends statuses in order, each until it is acknowledged', async () => {
    const manager = await aManager();
    aLoop([manager.addr]);
    await until(() => expect(told.welcomes).toHaveLength(1));

    outbox.report(aTaskStatus({ taskId: 'a', state: 'preparing' }));
    outbox.report(aTaskStatus({ taskId: 'b', state: 'running' }));
    outbox.report(aTaskStatus({ taskId: 'a', state: 'ready' }));
    await until(() => expect(manager.latest?.of('statuses')).toHaveLength(3));

    const batches = manager.latest?.of('statuses') ?? [];
    expect(batches.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(batches.flatMap(({ statuses }) => statuses.map((s) => `${s.taskId} ${s.state}`))).toEqual([
      'a preparing',
      'b running',
      'a ready',
    ]);
    for (const number of [1, 2]) manager.latest?.send({ $case: 'statusAck', value: { number } });
    manager.latest?.send({ $case: 'managers', value: { addrs: [manager.addr] } });
    await until(() => expect(told.managers).toHaveLength(1));
    expect(outbox.isEmpty).toBe(false);
    manager.latest?.send({ $case: 'statusAck', value: { number: 3 } });
    await until(() => expect(outbox.isEmpty).toBe(true));
  });

  test('learns of the other managers', async () => {
    const manager = await aManager();
    aLoop([manager.addr]);
    await until(() => expect(told.welcomes).toHaveLength(1));

    manager.latest?.send({ $case: 'managers', value: { addrs: ['10.0.0.1:2377', '10.0.0.3:2377'] } });

    await until(() => expect(told.managers).toEqual([['10.0.0.1:2377', '10.0.0.3:2377']]));
  });

  test('ends with a goodbye when the agent is stopped', async () => {
    const manager = await aManager();
    const loop = aLoop([manager.addr]);
    await until(() => expect(told.welcomes).toHaveLength(1));

    await loop.stop({ backWithinMs: 60_000, reason: 'upgrade' });

    expect(manager.latest?.of('goodbye')).toMatchObject([{ backWithinMs: 60_000, reason: 'upgrade' }]);
    expect(manager.sessions).toHaveLength(1);
  });
});

describe('a lost session', () => {
  test('is begun again, and what was not acknowledged is sent once more', async () => {
    const manager = await aManager();
    aLoop([manager.addr]);
    await until(() => expect(told.welcomes).toHaveLength(1));
    outbox.report(aTaskStatus({ taskId: 'a' }));
    await until(() => expect(manager.latest?.of('statuses')).toHaveLength(1));

    manager.latest?.fail(new ClusterError('unavailable', 'this manager stops'));
    await until(() => expect(manager.sessions).toHaveLength(2));
    await until(() => expect(manager.latest?.of('statuses')).toHaveLength(1));

    expect(manager.latest?.of('statuses')[0]?.statuses[0]?.taskId).toBe('a');
  });

  test('is begun with another manager when the first one is away', async () => {
    const away = await aManager();
    const there = await aManager();
    const loop = aLoop([away.addr, there.addr]);
    await until(() => expect(told.welcomes).toHaveLength(1));
    expect(loop.session?.managerAddr).toBe(away.addr);

    away.close();

    await until(() => expect(there.sessions).toHaveLength(1));
  });

  test('a manager that sends the node elsewhere is left for the next one', async () => {
    const first = await aManager({
      onSession: (session) =>
        session.send({ $case: 'dismiss', value: { removed: false, reason: 'too many agents here' } }),
    });
    const second = await aManager();
    aLoop([first.addr, second.addr]);

    await until(() => expect(second.sessions).toHaveLength(1));
    expect(told.removed).toBeUndefined();
  });
});

test('a node that has been removed from the cluster is told so and dials no more', async () => {
  const manager = await aManager({
    onSession: (session) =>
      session.send({ $case: 'dismiss', value: { removed: true, reason: 'the node was removed' } }),
  });
  aLoop([manager.addr]);

  await until(() => expect(told.removed).toBe('the node was removed'));
  expect(manager.sessions).toHaveLength(1);
});

test('a manager whose welcome is refused is not obeyed', async () => {
  const old = await aManager();
  const current = await aManager();
  let welcomes = 0;
  aLoop([old.addr, current.addr], () => {
    if (++welcomes === 1) throw new ClusterError('failedPrecondition', 'of a lower incarnation');
  });

  await until(() => expect(told.welcomes).toHaveLength(1));
  expect(old.sessions).toHaveLength(1);
  expect(current.sessions).toHaveLength(1);
  await until(() => expect(old.latest?.ended).toBe(true));
});

test("a worker's certificate is no manager's: whoever serves with one is not spoken to", async () => {
  const impostor = await aManager(undefined, await credentialsOf(authority, 'worker', 'node-x'));
  const foreign = await aManager(
    undefined,
    await credentialsOf(await TestAuthority.create(), 'manager', 'node-y'),
  );
  const real = await aManager();
  aLoop([impostor.addr, foreign.addr, real.addr]);

  await until(() => expect(real.sessions).toHaveLength(1));
  expect(impostor.sessions).toHaveLength(0);
  expect(foreign.sessions).toHaveLength(0);
});
