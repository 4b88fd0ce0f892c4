import { aContainer, settle } from '@tessera/shared/testing';
import { describe, expect, test } from 'vitest';
import { aCluster, NETWORK, putContainer, putNetwork, putTask } from './testing/index.js';

async function withContainer(addr = '') {
  const cluster = await aCluster();
  await cluster.addNodes('node-1', 'node-2');
  if (addr) await putNetwork(cluster.store);
  await putContainer(cluster.store, 'c1', 'node-1', addr);
  const [owner, other] = [cluster.connect('node-1'), cluster.connect('node-2')];
  await settle();
  return Object.assign(cluster, {
    owner,
    other,
    tick: () => cluster.clock.advanceAsync(100),
    stateOf: () => cluster.store.view().containerStates.get('c1'),
  });
}

test('a container is handed to its node alone, with its placement, and again when its user asks for something', async () => {
  const { store, owner, other, tick } = await withContainer();
  expect(owner.items.get('container/c1')?.item).toMatchObject({
    $case: 'container',
    value: { container: { id: 'c1', target: { generation: 1 } }, placement: { nodeId: 'node-1' } },
  });
  expect(other.keys()).toEqual(['node/node-2']);

  await store.update((tx) =>
    tx.put('containers', aContainer({ id: 'c1', target: { verb: 'start', generation: 2 } as never })),
  );
  await tick();

  expect(owner.items.get('container/c1')?.item).toMatchObject({
    value: { container: { target: { verb: 'start', generation: 2 } } },
  });
});

test('what is asked of a container leaves at once, however much else has just changed', async () => {
  const { store, owner, clock } = await withContainer();
  await putTask(store, 'task-1', 'node-1');
  await putTask(store, 'task-2', 'node-1');
  await settle();
  const sinceMs = clock.monotonic();

  await store.update((tx) =>
    tx.put('containers', aContainer({ id: 'c1', target: { verb: 'start', generation: 2 } as never })),
  );
  await settle();

  expect(clock.monotonic()).toBe(sinceMs);
  expect(owner.items.get('container/c1')?.item).toMatchObject({
    value: { container: { target: { generation: 2 } } },
  });
  expect(owner.keys()).toContain('task/task-2');
});

test('an agent is not told what it has said itself', async () => {
  const { owner, tick } = await withContainer();
  const before = owner.got('assignments').length;

  owner.reportContainers({ containerId: 'c1', state: 'running', sequence: 2 });
  await tick();

  expect(owner.got('assignments').length).toBe(before);
});

test('a container that is deleted is taken from its node', async () => {
  const { store, owner, tick } = await withContainer();

  await store.update((tx) => {
    tx.delete('containers', 'c1');
    tx.delete('containerPlacements', 'c1');
  });
  await tick();

  expect(owner.keys()).toEqual(['node/node-1']);
});

test('a container on a cluster network is an endpoint there, listed while it runs', async () => {
  const { store, owner, other, tick } = await withContainer('10.0.1.6/24');
  await putTask(store, 'task-1', 'node-2', '10.0.1.5/24');
  await tick();
  const endpoint = () => other.items.get(`endpoint/c1/${NETWORK}`)?.item;
  expect(endpoint()).toMatchObject({
    value: {
      taskId: 'c1',
      nodeAddr: 'addr-of-node-1',
      addr: '10.0.1.6/24',
      aliases: ['name-of-c1', 'c1'],
      state: 'starting',
    },
  });

  owner.reportContainers({ containerId: 'c1', state: 'running', sequence: 2 });
  await tick();
  expect(endpoint()).toMatchObject({ value: { state: 'ready' } });

  owner.reportContainers({ containerId: 'c1', state: 'removed', sequence: 3 });
  await tick();
  expect(endpoint()).toBeUndefined();
});

test('a state is stored with the node it came from, and acknowledged', async () => {
  const { owner, stateOf, tick } = await withContainer();

  const number = owner.reportContainers({
    containerId: 'c1',
    state: 'running',
    nodeId: 'node-9',
    sequence: 1,
  });
  await tick();

  expect(stateOf()).toMatchObject({ state: 'running', nodeId: 'node-1' });
  expect(owner.acked).toEqual([number]);
});

test('an older state never replaces a newer one, in one batch or in many', async () => {
  const { owner, stateOf, tick } = await withContainer();

  owner.reportContainers(
    { containerId: 'c1', state: 'exited', exitCode: 7, sequence: 5 },
    { containerId: 'c1', state: 'running', sequence: 4 },
  );
  owner.reportContainers({ containerId: 'c1', state: 'created', sequence: 5 });
  await tick();
  expect(stateOf()).toMatchObject({ state: 'exited', exitCode: 7, sequence: 5 });

  owner.reportContainers({ containerId: 'c1', state: 'running', sequence: 6 });
  await tick();
  expect(stateOf()).toMatchObject({ state: 'running', sequence: 6 });
  expect(owner.acked).toEqual([1, 2, 3]);
});

test('a node cannot speak of a container that is not its own, nor of one that is gone', async () => {
  const { owner, other, store, tick } = await withContainer();

  other.reportContainers({ containerId: 'c1', state: 'running' }, { containerId: 'c9', state: 'running' });
  await tick();

  expect(store.view().containerStates.size).toBe(0);
  expect(other.acked).toEqual([1]);
  expect(owner.acked).toEqual([]);
});

test('what a node says of a container of a former life is not heard once it is back there', async () => {
  const { owner, store, tick } = await withContainer();
  await store.update((tx) =>
    tx.put('containerPlacements', { ...tx.containerPlacements.get('c1')!, epoch: 3 }),
  );

  owner.reportContainers({ containerId: 'c1', state: 'running', epoch: 1, sequence: 9 });
  owner.reportContainers({ containerId: 'c1', state: 'created', epoch: 3, sequence: 2 });
  await tick();

  expect(store.view().containerStates.get('c1')).toMatchObject({ state: 'created', epoch: 3 });
  expect(owner.acked).toEqual([1, 2]);
});

test('a state that meets the deletion of its container leaves nothing behind', async () => {
  const { store, owner, tick } = await withContainer();

  owner.reportContainers({ containerId: 'c1', state: 'removed' });
  await store.update((tx) => {
    tx.delete('containers', 'c1');
    tx.delete('containerPlacements', 'c1');
  });
  await tick();

  const { containers, containerPlacements } = store.view();
  expect([containers.size, containerPlacements.size]).toEqual([0, 0]);
  expect(owner.acked).toEqual([1]);
});

describe('a container that has gone from its node, where this manager leads', () => {
  const leading = async () => {
    const cluster = await withContainer();
    cluster.leads = true;
    /** Every picture of the container's state that there was. */
    const seen: (string | undefined)[] = [];
    cluster.store.subscribe((changes, view) => {
      if (changes.some(({ kind }) => kind === 'containers' || kind === 'containerStates'))
        seen.push(view.containers.get('c1') && view.containerStates.get('c1')?.state);
    });
    return Object.assign(cluster, { seen });
  };

  test('is deleted with the write that would have said so', async () => {
    const { owner, seen, tick, store } = await leading();
    owner.reportContainers({ containerId: 'c1', state: 'exited', starts: 1, exits: 1, sequence: 2 });
    await tick();

    const number = owner.reportContainers({
      containerId: 'c1',
      state: 'removed',
      starts: 1,
      exits: 1,
      sequence: 3,
    });
    await tick();

    expect(seen).toEqual(['exited', undefined]);
    expect(store.view().containerStates.size).toBe(0);
    expect(owner.acked).toContain(number);
    expect(owner.keys()).toEqual(['node/node-1']);
  });

  test.each([
    ['its end', { starts: 1, exits: 1, generation: 2 }],
    ['an answer', { starts: 1, exits: 0, generation: 3 }],
  ])('is first shown with %s, where nobody has seen that yet', async (_, news) => {
    const { owner, seen, tick } = await leading();
    owner.reportContainers({ containerId: 'c1', state: 'running', starts: 1, generation: 2, sequence: 2 });
    await tick();

    owner.reportContainers({ containerId: 'c1', state: 'removed', ...news, sequence: 3 });
    await tick();

    expect(seen).toEqual(['running', 'removed']);
  });

  test('is first shown with an end that comes in the same message', async () => {
    const { owner, seen, tick } = await leading();
    owner.reportContainers(
      { containerId: 'c1', state: 'exited', starts: 1, exits: 1, exitCode: 7, sequence: 2 },
      { containerId: 'c1', state: 'removed', starts: 1, exits: 1, exitCode: 7, sequence: 3 },
    );
    await tick();

    expect(seen).toEqual(['removed']);
  });

  test('stays where another node says so', async () => {
    const { other, tick, store } = await leading();

    other.reportContainers({ containerId: 'c1', state: 'removed', sequence: 2 });
    await tick();

    expect(store.view().containers.get('c1')).toBeDefined();
  });
});

test('what an agent says of its container is heard before it is stored, and what another says is not', async () => {
  const { dispatcher, owner, other, tick } = await withContainer();
  const heard: string[] = [];
  const end = dispatcher.onReport('c1', ({ state }) => heard.push(state));

  other.reportContainers({ containerId: 'c1', state: 'exited', sequence: 2 });
  owner.reportContainers({ containerId: 'c1', state: 'created', sequence: 2 });
  expect(heard).toEqual(['created']);
  await tick();
  end();
  owner.reportContainers({ containerId: 'c1', state: 'running', sequence: 3 });

  expect(heard).toEqual(['created']);
});
