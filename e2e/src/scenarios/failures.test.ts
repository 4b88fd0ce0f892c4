import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiTask, LabCluster } from '../lab/cluster.js';
import { Lab } from '../lab/lab.js';
import { pidsOf, signalAll, signalOne } from '../lab/processes.js';
import { waitFor } from '../lab/wait.js';

let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `fl${process.pid}` });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());

const ids = (tasks: readonly ApiTask[]) => tasks.map((task) => task.ID).sort();
const containerPids = (tasks: readonly ApiTask[]) =>
  tasks.map((task) => `${task.ID} ${task.Status.ContainerStatus?.PID}`).sort();

test('the tasks of a host that lost its power run elsewhere, and nothing runs twice when it returns', async () => {
  const host3 = lab.host('host3');
  await cluster.createService({ name: 'web', replicas: 6 });
  await cluster.waitRunning('web', 6);
  const lostNode = await cluster.nodeId(host3);

  await host3.kill();
  await waitFor('six tasks on the other hosts', async () => {
    const running = await cluster.running('web');
    return running.length === 6 && running.every((task) => task.NodeID !== lostNode);
  });
  await host3.start();
  await cluster.waitNode(host3, 'ready');

  await waitFor('host3 to be without superseded tasks', async () => {
    const { stdout } = await host3.exec(['pgrep', '-xc', 'ts-shim']);
    const here = (await cluster.running('web')).filter((task) => task.NodeID === lostNode);
    return Number(stdout) === here.length;
  });
  const running = await cluster.waitRunning('web', 6);
  expect(new Set(running.map((task) => task.Slot)).size).toBe(6);
  await cluster.removeService('web');
  await cluster.waitEmpty();
});

test('a host cut off longer than the grace time is replaced, and stops what it ran once it is healed', async () => {
  const host2 = lab.host('host2');
  await cluster.createNetwork('cutnet');
  await cluster.createService({ name: 'web', replicas: 6, networks: ['cutnet'] });
  await cluster.waitRunning('web', 6);
  const cutNode = await cluster.nodeId(host2);

  await host2.cut();
  await waitFor('six tasks on the other hosts', async () => {
    const running = await cluster.running('web');
    return running.length === 6 && running.every((task) => task.NodeID !== cutNode);
  });
  expect(Number((await host2.exec(['pgrep', '-xc', 'ts-shim'])).stdout)).toBeGreaterThan(0);
  await host2.heal();
  await cluster.waitNode(host2, 'ready');
  await waitFor('host2 to have stopped them', async () => (await pidsOf(host2, 'shim')).length === 0);

  const tasks = await cluster.waitRunning('web', 6);
  const addresses = tasks
    .flatMap((task) => task.NetworksAttachments ?? [])
    .flatMap(({ Addresses }) => Addresses);
  expect(addresses).toHaveLength(6);
  expect(new Set(addresses).size).toBe(6);
  await cluster.removeService('web');
  await cluster.waitEmpty();
  await lab.hosts[0]!.tsctl('network', 'rm', 'cutnet');
});

test('a killed shim is a lost container: recorded as 137, and replaced', async () => {
  const host2 = lab.host('host2');
  await cluster.createService({ name: 'one', constraints: ['node.hostname==host2'], restart: { Delay: 0 } });
  const [before] = await cluster.waitRunning('one', 1);
  const [shim] = await pidsOf(host2, 'shim');

  await signalOne(host2, shim!, 'KILL');

  const failed = await waitFor('the loss to be recorded', async () =>
    (await cluster.tasks('one')).find((task) => task.ID === before!.ID && task.Status.State === 'failed'),
  );
  expect(failed.Status.ContainerStatus?.ExitCode).toBe(137);
  expect(failed.Status.Err).toContain('shim lost');
  const [after] = await cluster.waitRunning('one', 1);
  expect(after!.ID).not.toBe(before!.ID);
  await cluster.removeService('one');
  await cluster.waitEmpty();
});

test.each(['manager', 'etcd'] as const)(
  '%s stopped for ten seconds: nothing is rescheduled',
  async (kind) => {
    await cluster.createService({ name: 'web', replicas: 12 });
    const before = await cluster.waitRunning('web', 12);
    // Load on what is about to stop: every write meets the pause.
    await cluster.createService({ name: 'load', replicas: 20 });

    expect(await signalAll(cluster.manager, kind, 'STOP')).toBe(1);
    // The fault itself is time passing; ten seconds of it, by the host's own clock.
    await cluster.manager.must(['sleep', '10']);
    await signalAll(cluster.manager, kind, 'CONT');

    await cluster.waitRunning('load', 20);
    await cluster.waitReady();
    expect(containerPids(await cluster.waitRunning('web', 12))).toEqual(containerPids(before));
    expect(await cluster.tasks('web')).toHaveLength(12);
    expect(await cluster.tasks('load')).toHaveLength(20);
    await cluster.removeService('web');
    await cluster.removeService('load');
    await cluster.waitEmpty();
  },
);

test.each(['manager', 'etcd'] as const)(
  '%s killed: it is back by itself, and no task noticed',
  async (kind) => {
    await cluster.createService({ name: 'web', replicas: 6 });
    const before = await cluster.waitRunning('web', 6);

    await signalAll(cluster.manager, kind, 'KILL');

    await waitFor('the cluster to answer', async () => (await cluster.nodes()).length === 3);
    await cluster.createService({ name: 'after', replicas: 3 });
    await cluster.waitRunning('after', 3);
    expect(containerPids(await cluster.waitRunning('web', 6))).toEqual(containerPids(before));
    expect(ids(await cluster.tasks('web'))).toEqual(ids(before));
    await cluster.removeService('web');
    await cluster.removeService('after');
    await cluster.waitEmpty();
  },
);

test('the host that loaded the image dies before the scale-up: the scale-up succeeds', async () => {
  // host2 loads it, as the manager's own host must live for the test to go on.
  const host2 = lab.host('host2');
  await cluster.createService({ name: 'web', replicas: 1, constraints: ['node.hostname==host1'] });
  await cluster.waitRunning('web', 1);
  const holders = (await cluster.nodes()).length;
  expect(holders).toBe(3);

  await host2.kill();
  await cluster.waitNode(host2, 'down');
  await cluster.createService({ name: 'more', replicas: 4, constraints: ['node.hostname==host3'] });

  await cluster.waitRunning('more', 4);
  await host2.start();
  await cluster.waitNode(host2, 'ready');
  await cluster.removeService('web');
  await cluster.removeService('more');
  await cluster.waitEmpty();
});
