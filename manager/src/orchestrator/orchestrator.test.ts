import { silentLogger } from '@tessera/shared/env';
import { Placement, type Service, SpecVersion, type Task, UpdateConfig } from '@tessera/shared/model';
import {
  aNode,
  aNodeStatus,
  aService,
  aTaskSpec,
  aTaskStatus,
  FakeClock,
  SeededRandom,
  settle,
} from '@tessera/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { runLoop } from '../loops/leader-loop.js';
import { type MemoryStore, openMemoryStore } from '../store/testing/index.js';
import { orchestratorLoop } from './orchestrator.js';

let ending = new AbortController();
afterEach(() => {
  ending.abort();
  ending = new AbortController();
});

async function anOrchestrator() {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    for (const id of ['node-1', 'node-2', 'node-3']) {
      tx.put('nodes', aNode({ id }));
      tx.put('nodeStatuses', aNodeStatus({ nodeId: id }));
    }
  });
  const definition = orchestratorLoop({ store, clock, random: new SeededRandom(1) });
  runLoop(definition, { store, clock, logger: silentLogger, signal: ending.signal });
  return { clock, store };
}

const putService = (
  store: MemoryStore,
  id: string,
  parts: Partial<Service['spec'] & object> = {},
  version = 1,
) =>
  store.update((tx) => {
    const before = tx.services.get(id);
    const task = aTaskSpec({ forceUpdate: version });
    const service = aService(
      { id, specVersion: version, previousSpec: before?.spec },
      { name: id, task, ...parts },
    );
    tx.put('services', { ...before, ...service, meta: before?.meta });
    tx.put('specs', SpecVersion.fromPartial({ serviceId: id, version, task: service.spec!.task! }));
  });

/** What the scheduler and an agent would make of a task. */
const report = (store: MemoryStore, task: Task, state: Task['state'], ranMs = 0) =>
  store.update((tx) => {
    const latest = tx.tasks.get(task.id)!;
    if (latest.state !== 'assigned') tx.put('tasks', { ...latest, state: 'assigned', nodeId: 'node-1' });
    const finishedAtMs = 1_700_000_100_000;
    const container = {
      containerId: 'c',
      pid: 1,
      exitCode: 1,
      oomKilled: false,
      startedAtMs: finishedAtMs - ranMs,
      finishedAtMs,
    };
    tx.put('taskStatuses', aTaskStatus({ taskId: task.id, nodeId: 'node-1', state, container }));
  });

const wanted = (store: MemoryStore, serviceId: string): Task[] =>
  store
    .view()
    .tasks.byService(serviceId)
    .filter(({ desiredState }) => desiredState === 'running' || desiredState === 'ready');

test('a service gets its tasks, loses what is too many, and all of them when it is removed', async () => {
  const { store } = await anOrchestrator();

  await putService(store, 's1', { replicas: 250 });
  await settle();
  expect(
    wanted(store, 's1')
      .map(({ slot }) => slot)
      .sort((a, b) => a - b),
  ).toEqual(Array.from({ length: 250 }, (_, index) => index + 1));

  await putService(store, 's1', { replicas: 20 });
  await settle();
  expect(wanted(store, 's1')).toHaveLength(20);

  await store.update((tx) => tx.put('services', { ...tx.services.get('s1')!, removing: true }));
  await settle();
  expect(
    store
      .view()
      .tasks.byService('s1')
      .every(({ desiredState }) => desiredState === 'remove'),
  ).toBe(true);
});

test('a service that crashes over and over backs off, and another one is served as before', async () => {
  const { clock, store } = await anOrchestrator();
  await putService(store, 'crashing', { replicas: 1 });
  await settle();
  const startDelays: number[] = [];
  for (let round = 0; round < 4; round++) {
    const [task] = wanted(store, 'crashing');
    await report(store, task!, 'failed', 100);
    await settle();
    const next = wanted(store, 'crashing')[0]!;
    startDelays.push(next.startNotBeforeMs - clock.now());
    await clock.advanceAsync(next.startNotBeforeMs - clock.now());
    expect(wanted(store, 'crashing')[0]).toMatchObject({ id: next.id, desiredState: 'running' });
  }
  expect(startDelays).toEqual([5_000, 10_000, 20_000, 40_000]);

  await putService(store, 'sound', { replicas: 2 });
  await settle();
  expect(wanted(store, 'sound')).toHaveLength(2);
});

test('an update replaces one task at a time, each after the last one runs', async () => {
  const { clock, store } = await anOrchestrator();
  await putService(store, 's1', { replicas: 3 });
  await settle();
  for (const task of wanted(store, 's1')) await report(store, task, 'running', 60_000);
  const outdated = () => wanted(store, 's1').filter(({ specVersion }) => specVersion === 1).length;

  await putService(store, 's1', { replicas: 3 }, 2);
  await settle();
  const left: number[] = [];
  for (let round = 0; round < 3; round++) {
    left.push(outdated());
    const [stopping] = store
      .view()
      .tasks.byService('s1')
      .filter(
        ({ id, desiredState }) =>
          desiredState === 'shutdown' && store.view().taskStatuses.get(id)?.state === 'running',
      );
    const fresh = wanted(store, 's1').find(
      ({ specVersion, desiredState }) => specVersion === 2 && desiredState === 'ready',
    );
    expect(fresh?.supersedes).toEqual([stopping!.id]);
    await report(store, stopping!, 'shutdown');
    await settle();
    expect(store.view().tasks.get(fresh!.id)?.desiredState).toBe('running');
    await report(store, fresh!, 'running', 0);
    await settle();
  }

  expect(left).toEqual([2, 1, 0]);
  await clock.advanceAsync(200_000);
  expect(store.view().serviceStatuses.get('s1')?.update).toMatchObject({
    state: 'completed',
    message: 'update completed',
  });
});

test('a failed update that is to be rolled back puts the spec before in place, as a version of its own', async () => {
  const { store } = await anOrchestrator();
  const update = UpdateConfig.fromPartial({ parallelism: 1, failureAction: 'rollback', monitorMs: 5_000 });
  await putService(store, 's1', { replicas: 1, update });
  await settle();
  const before = store.view().services.get('s1')!.spec!;
  await putService(store, 's1', { replicas: 1, update, task: aTaskSpec({ forceUpdate: 77 }) }, 2);
  await settle();

  const fresh = wanted(store, 's1').find(({ specVersion }) => specVersion === 2)!;
  await report(store, fresh, 'failed', 10);
  await settle();

  const service = store.view().services.get('s1')!;
  expect(service.specVersion).toBe(3);
  expect(service.spec?.task?.forceUpdate).toBe(before.task?.forceUpdate);
  expect(store.view().specs.get('s1/3')?.task?.forceUpdate).toBe(before.task?.forceUpdate);
  expect(store.view().serviceStatuses.get('s1')?.update?.state).toBe('rollback_started');
});

test('a failed update that is rolled back leaves alone the tasks it had not come to', async () => {
  const { clock, store } = await anOrchestrator();
  const update = UpdateConfig.fromPartial({ parallelism: 1, failureAction: 'rollback', monitorMs: 5_000 });
  await putService(store, 's1', { replicas: 3, update });
  await settle();
  for (const task of wanted(store, 's1')) await report(store, task, 'running', 60_000);
  await settle();
  await putService(store, 's1', { replicas: 3, update, task: aTaskSpec({ forceUpdate: 77 }) }, 2);
  await settle();
  const untouched = wanted(store, 's1').filter(({ specVersion }) => specVersion === 1);
  expect(untouched).toHaveLength(2);

  const fresh = wanted(store, 's1').find(({ specVersion }) => specVersion === 2)!;
  await report(store, fresh, 'failed', 10);
  await settle();
  const again = wanted(store, 's1').find(({ slot }) => slot === fresh.slot)!;
  await report(store, again, 'running', 0);
  await clock.advanceAsync(200_000);

  for (const { id } of untouched) {
    expect(store.view().tasks.get(id)).toMatchObject({ desiredState: 'running', specVersion: 3 });
  }
  expect(wanted(store, 's1').map(({ specVersion }) => specVersion)).toEqual([3, 3, 3]);
  expect(store.view().serviceStatuses.get('s1')?.update?.state).toBe('rollback_completed');
});

test('new constraints move the tasks whose node does not meet them, and no others', async () => {
  const { store } = await anOrchestrator();
  await putService(store, 's1', { replicas: 2 });
  await settle();
  for (const task of wanted(store, 's1')) await report(store, task, 'running', 60_000);
  await settle();
  const before = wanted(store, 's1').map(({ id }) => id);
  const constrained = (...constraints: string[]) => ({
    replicas: 2,
    task: aTaskSpec({ forceUpdate: 1, placement: Placement.fromPartial({ constraints }) }),
  });

  await putService(store, 's1', constrained('node.id == node-1'), 2);
  await settle();
  expect(wanted(store, 's1')).toMatchObject(before.map((id) => ({ id, specVersion: 2 })));

  await putService(store, 's1', constrained('node.id != node-1'), 3);
  await settle();
  expect(wanted(store, 's1').filter(({ id }) => before.includes(id))).toHaveLength(1);
});

test('new platforms move the tasks whose node is of none of them, and no others', async () => {
  const { store } = await anOrchestrator();
  await putService(store, 's1', { replicas: 1 });
  await settle();
  const [task] = wanted(store, 's1');
  await report(store, task!, 'running', 60_000);
  await settle();
  const placed = (architecture: string) => ({
    replicas: 1,
    task: aTaskSpec({
      forceUpdate: 1,
      placement: Placement.fromPartial({ platforms: [{ os: 'linux', architecture }] }),
    }),
  });

  await putService(store, 's1', placed('amd64'), 2);
  await settle();
  expect(wanted(store, 's1')).toMatchObject([{ id: task!.id, specVersion: 2 }]);

  await putService(store, 's1', placed('arm64'), 3);
  await settle();
  expect(wanted(store, 's1').map(({ id }) => id)).not.toContain(task!.id);
});

test('a node that is lost has its tasks replaced, a global service waits for it', async () => {
  const { store } = await anOrchestrator();
  await putService(store, 's1', { replicas: 1 });
  await putService(store, 'everywhere', { mode: 'global' });
  await settle();
  expect(
    wanted(store, 'everywhere')
      .map(({ nodeId }) => nodeId)
      .sort(),
  ).toEqual(['node-1', 'node-2', 'node-3']);
  const [old] = wanted(store, 's1');
  await report(store, old!, 'running', 60_000);

  await store.update((tx) => tx.put('nodeStatuses', aNodeStatus({ nodeId: 'node-1', state: 'down' })));
  await settle();

  expect(store.view().tasks.get(old!.id)?.desiredState).toBe('shutdown');
  expect(wanted(store, 's1')).toMatchObject([
    { supersedes: [old!.id], desiredState: 'running', epoch: { number: 2 } },
  ]);
  expect(wanted(store, 'everywhere')).toHaveLength(3);
});
