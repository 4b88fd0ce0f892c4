import { SeededRandom } from '@tessera/shared/testing';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiTask, LabCluster } from '../lab/cluster.js';
import { run } from '../lab/command.js';
import { Lab } from '../lab/lab.js';
import { type ProcessKind, pidsOf, signalOne } from '../lab/processes.js';
import { growthSince, settledUsage } from '../lab/usage.js';
import { waitFor } from '../lab/wait.js';

/**
 * In how many rounds processes are killed, and how often tasks are made and removed before the measuring and after it;
 * `SOAK=long npm run test:e2e endurance`: at length.
 */
const SOAK =
  process.env.SOAK === 'long'
    ? { chaos: 12, tasks: 200, before: 4, after: 6 }
    : { chaos: 3, tasks: 100, before: 2, after: 2 };

let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `en${process.pid}`, capacity: { cpus: 4, memoryBytes: 8 * 2 ** 30 } });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());

const containerPids = (tasks: readonly ApiTask[]) =>
  tasks.map((task) => `${task.ID} ${task.Status.ContainerStatus?.PID}`).sort();

test('an agent with 200 tasks is killed, restarted and upgraded under full load: no task moves or restarts', async () => {
  const host2 = lab.host('host2');
  await cluster.createService({ name: 'many', replicas: 200, constraints: ['node.hostname==host2'] });
  const before = await cluster.waitRunning('many', 200, 100_000);
  // Two spinning processes take both cores from everything else.
  const unload = new AbortController();
  const load = [1, 2].map(() =>
    run(['sh', '-c', 'while :; do :; done'], { timeoutMs: 60_000, signal: unload.signal }),
  );

  await host2.killAgent();
  await host2.startAgent();
  await cluster.waitNode(host2, 'ready');
  expect(containerPids(await cluster.waitRunning('many', 200))).toEqual(containerPids(before));

  await host2.stopAgent();
  await host2.startAgent();
  await cluster.waitNode(host2, 'ready');
  expect(containerPids(await cluster.waitRunning('many', 200))).toEqual(containerPids(before));
  expect(await cluster.tasks('many')).toHaveLength(200);

  unload.abort();
  await Promise.all(load);
  await cluster.removeService('many');
  await cluster.waitEmpty(110_000);
}, 300_000);

test('every process killed at random moments of create, scale and remove: it converges and leaks nothing', async () => {
  const seed = Number(process.env.CHAOS_SEED ?? 7);
  const random = new SeededRandom(seed, 'chaos');
  const kinds: readonly ProcessKind[] = ['agent', 'manager', 'etcd', 'shim'];
  for (let round = 1; round <= SOAK.chaos; round++) {
    const name = `chaos${round}`;
    const replicas = 3 + Math.floor(random.next() * 12);
    const strike = async () => {
      const kind = kinds[Math.floor(random.next() * kinds.length)]!;
      const host =
        kind === 'agent' || kind === 'shim' ? lab.hosts[Math.floor(random.next() * 3)]! : cluster.manager;
      const pids = await pidsOf(host, kind);
      const pid = pids[Math.floor(random.next() * pids.length)];
      if (pid === undefined) return;
      if (kind === 'agent') {
        await host.killAgent();
        await host.startAgent();
      } else {
        await signalOne(host, pid, 'KILL');
      }
    };
    // The API may be away for a moment; a person would type the command again.
    const insist = <T>(what: string, act: () => Promise<T>) =>
      waitFor(what, async () => {
        await act();
        return true;
      });
    let created = false;
    await Promise.all([
      insist(`${name} to be created`, async () => {
        if (
          created ||
          (await cluster.get<{ Spec: { Name: string } }[]>('/services')).some((s) => s.Spec.Name === name)
        )
          return;
        await cluster.createService({ name, replicas, restart: { Delay: 0 } });
        created = true;
      }),
      strike(),
    ]);
    await Promise.all([insist(`${name} to scale`, () => cluster.scale(name, replicas + 4)), strike()]);
    await strike();
    const running = await waitFor(
      `${name} to converge (seed ${seed})`,
      async () => {
        const tasks = await cluster.running(name);
        return tasks.length === replicas + 4 && tasks;
      },
      { timeoutMs: 90_000 },
    );
    expect(new Set(running.map((task) => task.Slot)).size).toBe(replicas + 4);
    await Promise.all([
      insist(`${name} to be removed`, async () => {
        if (!(await cluster.get<{ Spec: { Name: string } }[]>('/services')).some((s) => s.Spec.Name === name))
          return;
        await cluster.removeService(name);
      }),
      strike(),
    ]);
    await waitFor('every host to be ready', async () => {
      await cluster.waitReady();
      return true;
    });
    await cluster.waitEmpty();
  }
}, 420_000);

test('tasks created and removed over and over: everything returns to where it began', async () => {
  await cluster.createNetwork('soak');
  const cycle = async () => {
    await cluster.createService({
      name: 'soak',
      replicas: SOAK.tasks,
      networks: ['soak'],
      stopGraceMs: 1,
    });
    await cluster.waitRunning('soak', SOAK.tasks, 100_000);
    await cluster.removeService('soak');
    await cluster.waitEmpty(100_000);
  };
  // The first rounds fill caches and heaps, as the tests before this one did; what grows after them is a leak.
  for (let round = 0; round < SOAK.before; round++) await cycle();
  const before = await settledUsage(lab);
  for (let round = 0; round < SOAK.after; round++) await cycle();

  expect(await growthSince(lab, before)).toEqual([]);
  await lab.hosts[0]!.tsctl('network', 'rm', 'soak');
}, 600_000);
