import { settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { aCluster, NETWORK, putNetwork, putTask } from './testing/index.js';

test('a node with a task on a network hears of every endpoint there, and no other node does', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1', 'node-2', 'node-3');
  await putNetwork(cluster.store);
  const [one, two, three] = ['node-1', 'node-2', 'node-3'].map((id) => cluster.connect(id));
  await settle();

  await putTask(cluster.store, 'task-1', 'node-1', '10.0.1.5/24');
  await putTask(cluster.store, 'task-2', 'node-2', '10.0.1.6/24');
  await cluster.pass(500, one!, two!, three!);

  const both = [`endpoint/task-1/${NETWORK}`, `endpoint/task-2/${NETWORK}`, `network/${NETWORK}`];
  expect(one!.keys()).toEqual([...both, 'node/node-1', 'task/task-1'].sort());
  expect(two!.keys()).toEqual([...both, 'node/node-2', 'task/task-2'].sort());
  expect(three!.keys()).toEqual(['node/node-3']);
  const endpoint = one!.items.get(`endpoint/task-2/${NETWORK}`)?.item;
  expect(endpoint?.value).toMatchObject({
    nodeAddr: 'addr-of-node-2',
    addr: '10.0.1.6/24',
    state: 'starting',
  });
});

test('an endpoint is listed while its task runs, drains when it is to stop, and goes when it has', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1', 'node-2');
  await putNetwork(cluster.store);
  const one = cluster.connect('node-1');
  const two = cluster.connect('node-2');
  await putTask(cluster.store, 'task-1', 'node-1', '10.0.1.5/24');
  await putTask(cluster.store, 'task-2', 'node-2', '10.0.1.6/24');
  const key = `endpoint/task-1/${NETWORK}`;
  const stateAtTwo = () => {
    const item = two.items.get(key)?.item;
    return item?.$case === 'endpoint' ? item.value.state : undefined;
  };
  const states: unknown[] = [];

  one.report({ taskId: 'task-1', state: 'running' });
  await cluster.pass(500, one, two);
  states.push(stateAtTwo());
  await cluster.store.update((tx) => tx.put('tasks', { ...tx.tasks.get('task-1')!, desiredState: 'remove' }));
  await cluster.pass(500, one, two);
  states.push(stateAtTwo());
  one.report({ taskId: 'task-1', state: 'shutdown' });
  await cluster.pass(500, one, two);
  states.push(stateAtTwo());

  expect(states).toEqual(['ready', 'draining', undefined]);
  expect(one.keys()).toEqual(['node/node-1', 'task/task-1']);
  await cluster.store.update((tx) => tx.delete('tasks', 'task-1'));
  await cluster.pass(500, one, two);
  expect(one.keys()).toEqual(['node/node-1']);
});

test('what a node has after deltas is what a new session of it is sent whole', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1', 'node-2');
  await putNetwork(cluster.store);
  const agent = cluster.connect('node-1');
  await putTask(cluster.store, 'task-1', 'node-1', '10.0.1.5/24');
  await putTask(cluster.store, 'task-2', 'node-2', '10.0.1.6/24');
  await putTask(cluster.store, 'task-3', 'node-1');
  await cluster.store.update((tx) => tx.put('imagePlacements', { imageId: 'sha256:a', nodeIds: ['node-1'] }));
  await cluster.store.update((tx) => tx.delete('tasks', 'task-2'));
  await cluster.pass(500, agent);

  const again = cluster.connect('node-1');
  await settle();

  expect(again.keys()).toEqual(agent.keys());
  expect(agent.keys()).toContain('image/sha256:a');
  expect([...again.items.values()]).toEqual(expect.arrayContaining([...agent.items.values()]));
});

test('a burst of changes is coalesced, and a change elsewhere sends nothing', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1', 'node-2');
  const agent = cluster.connect('node-1');
  await settle();
  const before = agent.got('assignments').length;

  for (let number = 0; number < 50; number++) await putTask(cluster.store, `task-${number}`, 'node-2');
  expect(agent.got('assignments')).toHaveLength(before);
  for (let number = 50; number < 100; number++) await putTask(cluster.store, `task-${number}`, 'node-1');
  await cluster.pass(500, agent);

  expect(agent.items.size).toBe(51);
  expect(agent.got('assignments').length - before).toBeLessThanOrEqual(2);
});

test('a full set goes in pieces, as fast as it is taken, and the last one says so', async () => {
  const cluster = await aCluster();
  await cluster.addNodes('node-1');
  for (let number = 0; number < 2_500; number++) await putTask(cluster.store, `task-${number}`, 'node-1');
  const agent = cluster.connect('node-1');
  // The welcome, the managers, and the first piece fill it.
  agent.room = 3;
  await settle();
  expect(agent.got('assignments').map(({ complete }) => complete)).toEqual([false]);

  agent.room = Number.POSITIVE_INFINITY;
  agent.handle.drained();

  const pieces = agent.got('assignments');
  expect(pieces.length).toBeGreaterThan(2);
  expect(pieces.map(({ sequence }) => sequence)).toEqual(pieces.map((_, index) => index + 1));
  expect(pieces.map(({ complete }) => complete)).toEqual(
    pieces.map((_, index) => index === pieces.length - 1),
  );
  expect(agent.items.size).toBe(2_501);
});
