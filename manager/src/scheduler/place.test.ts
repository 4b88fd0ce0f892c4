import { Image, Placement, type Task, type TaskSpec } from '@tessera/shared/model';
import { aTaskStatus } from '@tessera/shared/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { MemoryStore } from '../store/testing/index.js';
import { NodeSet } from './node-set.js';
import { planPlacements } from './place.js';
import { openScheduling, putPending, reserving } from './testing/index.js';

const NOW_MS = 1_700_000_000_000;

const plan = (store: MemoryStore, tasks: readonly Task[], nodes = new NodeSet(store.view())) =>
  planPlacements(tasks, { nodes, view: store.view(), nowMs: NOW_MS });

/** How many of the placements went to each node. */
function countByNode(placements: ReturnType<typeof plan>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { nodeId = 'none' } of placements) counts[nodeId] = (counts[nodeId] ?? 0) + 1;
  return counts;
}

const reasonOf = (placements: ReturnType<typeof plan>) => {
  const waiting = placements.find(({ nodeId }) => nodeId === undefined);
  return waiting && 'reason' in waiting ? waiting.reason : undefined;
};

const constrained = (...constraints: string[]): Partial<TaskSpec> => ({
  placement: Placement.fromPartial({ constraints }),
});

test('tasks of a service spread evenly over the nodes', async () => {
  const store = await openScheduling({ a: {}, b: {}, c: {} });

  const placements = plan(store, await putPending(store, 's1', 10));

  expect(countByNode(placements)).toEqual({ a: 4, b: 3, c: 3 });
});

test('a single task goes to the node with the fewest tasks', async () => {
  const store = await openScheduling({ a: {}, b: {}, c: {} });
  await putPending(store, 'busy', 2, {}, { state: 'assigned', nodeId: 'a' });
  await putPending(store, 'other', 1, {}, { state: 'assigned', nodeId: 'b' });

  expect(countByNode(plan(store, await putPending(store, 's1', 1)))).toEqual({ c: 1 });
});

test('a service spreads by its own tasks before it looks at those of others', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  await putPending(store, 'busy', 5, {}, { state: 'assigned', nodeId: 'b' });

  expect(countByNode(plan(store, await putPending(store, 's1', 4)))).toEqual({ a: 2, b: 2 });
});

test('tasks spread over the values of a label first', async () => {
  const store = await openScheduling({
    a1: { labels: { zone: 'a' } },
    a2: { labels: { zone: 'a' } },
    a3: { labels: { zone: 'a' } },
    b1: { labels: { zone: 'b' } },
  });
  const spec = { placement: Placement.fromPartial({ spreadOver: ['node.labels.zone'] }) };

  const counts = countByNode(plan(store, await putPending(store, 's1', 6, spec)));

  expect(counts).toEqual({ a1: 1, a2: 1, a3: 1, b1: 3 });
});

test('what the nodes have no room for waits, and says how many nodes were refused for what', async () => {
  const store = await openScheduling({
    a: {},
    b: {},
    c: { labels: { zone: 'far' } },
    d: { availability: 'drain' },
    e: { state: 'down' },
  });
  const spec = { ...reserving(2e9), ...constrained('node.labels.zone != far') };

  const placements = plan(store, await putPending(store, 's1', 6, spec));

  expect(countByNode(placements)).toEqual({ a: 2, b: 2, none: 2 });
  expect(reasonOf(placements)).toBe(
    'no suitable node (2 nodes not available for new tasks; insufficient resources on 2 nodes; scheduling constraints not satisfied on 1 node)',
  );
});

test('without nodes there is no suitable node', async () => {
  const store = await openScheduling({});

  expect(reasonOf(plan(store, await putPending(store, 's1', 1)))).toBe('no suitable node');
});

test('a node takes no more of a service than its limit', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  const spec = { placement: Placement.fromPartial({ maxReplicasPerNode: 1 }) };

  const placements = plan(store, await putPending(store, 's1', 3, spec));

  expect(countByNode(placements)).toEqual({ a: 1, b: 1, none: 1 });
  expect(reasonOf(placements)).toBe('no suitable node (max replicas per node limit exceed)');
});

test('an image goes only where its platform runs', async () => {
  const store = await openScheduling({ amd: { architecture: 'x86_64' }, arm: { architecture: 'aarch64' } });
  await store.update((tx) =>
    tx.put(
      'images',
      Image.fromPartial({
        id: 'sha256:1',
        config: Buffer.from(JSON.stringify({ os: 'linux', architecture: 'arm64' })),
      }),
    ),
  );
  const container = {
    ...(await putPending(store, 'x', 1).then(([task]) => store.view().specOf(task!).container!)),
  };
  const spec = { container: { ...container, imageDigest: 'sha256:1' } };

  expect(countByNode(plan(store, await putPending(store, 's1', 2, spec)))).toEqual({ arm: 2 });
});

test.each([
  ['what runs it', [{ os: 'linux', architecture: 'arm64' }], { arm: 4 }],
  [
    'one of several',
    [
      { os: 'linux', architecture: 'amd64' },
      { os: 'linux', architecture: 'aarch64' },
    ],
    { amd: 2, arm: 2 },
  ],
  ['any processor where only the system is named', [{ os: 'linux', architecture: '' }], { amd: 2, arm: 2 }],
  ['any system where only the processor is named', [{ os: '', architecture: 'AMD64' }], { amd: 4 }],
])('a service that names its platforms goes to %s', async (_which, platforms, expected) => {
  const store = await openScheduling({ amd: { architecture: 'x86_64' }, arm: { architecture: 'aarch64' } });
  const spec = { placement: Placement.fromPartial({ platforms }) };

  expect(countByNode(plan(store, await putPending(store, 's1', 4, spec)))).toEqual(expected);
});

test("a service whose platforms no node runs waits, and says so in Swarm's words", async () => {
  const store = await openScheduling({ amd: { architecture: 'x86_64' }, arm: { architecture: 'aarch64' } });
  const platforms = [
    { os: 'windows', architecture: 'amd64' },
    { os: 'linux', architecture: 's390x' },
  ];
  const spec = { placement: Placement.fromPartial({ platforms }) };

  const placements = plan(store, await putPending(store, 's1', 1, spec));

  expect(reasonOf(placements)).toBe('no suitable node (unsupported platform on 2 nodes)');
});

test('of two nodes alike the one that has the image is taken', async () => {
  const store = await openScheduling({ a: {}, b: { images: ['sha256:1'] } });
  const [sample] = await putPending(store, 'x', 1);
  const container = { ...store.view().specOf(sample!).container!, imageDigest: 'sha256:1' };

  expect(countByNode(plan(store, await putPending(store, 's1', 1, { container })))).toEqual({ b: 1 });
});

test('a node on which the service keeps failing comes last, for a while', async () => {
  const store = await openScheduling({ a: {}, b: {} });
  const nodes = new NodeSet(store.view());
  for (let count = 0; count < 5; count++) nodes.failures.note('s1', 'a', NOW_MS);
  const tasks = await putPending(store, 's1', 2);

  expect(countByNode(plan(store, tasks, nodes))).toEqual({ b: 2 });
  const later = planPlacements(tasks, {
    nodes: new NodeSet(store.view()),
    view: store.view(),
    nowMs: NOW_MS + 6 * 60_000,
  });
  expect(countByNode(later)).toEqual({ a: 1, b: 1 });
});

test('a task made for a node goes there or nowhere', async () => {
  const store = await openScheduling({ a: { availability: 'pause' }, b: {} });
  const tasks = await putPending(store, 's1', 1, {}, { slot: 0, nodeId: 'a' });

  const placements = plan(store, tasks);

  expect(countByNode(placements)).toEqual({ none: 1 });
  expect(reasonOf(placements)).toBe('no suitable node (1 node not available for new tasks)');
});

test('a task that has ended gives its room back, one that is told to end does not yet', async () => {
  const store = await openScheduling({ a: { nanoCpus: 2e9 } });
  await putPending(store, 'old', 1, reserving(2e9), {
    state: 'assigned',
    nodeId: 'a',
    desiredState: 'shutdown',
  });
  const nodes = new NodeSet(store.view());
  const changes: boolean[] = [];
  store.subscribe((all, view) => {
    for (const change of all) changes.push(nodes.apply(change, view, NOW_MS));
  });
  const tasks = await putPending(store, 's1', 1, reserving(1e9));
  expect(countByNode(plan(store, tasks, nodes))).toEqual({ none: 1 });

  changes.length = 0;
  await store.update((tx) =>
    tx.put('taskStatuses', aTaskStatus({ taskId: 'old-1', state: 'shutdown', nodeId: 'a' })),
  );

  expect(changes).toEqual([true]);
  expect(countByNode(plan(store, tasks, nodes))).toEqual({ a: 1 });
});

test('reservations never exceed what a node has, and none waits that would fit', async () => {
  const node = fc.record({
    nanoCpus: fc.integer({ min: 0, max: 8 }),
    memoryBytes: fc.integer({ min: 0, max: 8 }),
  });
  const service = fc.record({
    count: fc.integer({ min: 1, max: 8 }),
    nanoCpus: fc.integer({ min: 0, max: 5 }),
    memoryBytes: fc.integer({ min: 0, max: 5 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(node, { minLength: 1, maxLength: 5 }),
      fc.array(service, { maxLength: 5 }),
      async (machines, services) => {
        const ids = machines.map((_, index) => `n${index}`);
        const store = await openScheduling(
          Object.fromEntries(machines.map((parts, index) => [ids[index]!, parts])),
        );
        const tasks: Task[] = [];
        for (const [index, { count, nanoCpus, memoryBytes }] of services.entries()) {
          tasks.push(...(await putPending(store, `s${index}`, count, reserving(nanoCpus, memoryBytes))));
        }

        const placements = plan(store, tasks);

        expect(placements.map(({ task }) => task.id).sort()).toEqual(tasks.map(({ id }) => id).sort());
        const left = new Map(ids.map((id, index) => [id, { ...machines[index]! }]));
        const needsOf = (task: Task) => store.view().specOf(task).resources!.reservations!;
        for (const { task, nodeId } of placements) {
          if (nodeId === undefined) continue;
          left.get(nodeId)!.nanoCpus -= needsOf(task).nanoCpus;
          left.get(nodeId)!.memoryBytes -= needsOf(task).memoryBytes;
        }
        for (const { nanoCpus, memoryBytes } of left.values())
          expect(Math.min(nanoCpus, memoryBytes)).toBeGreaterThanOrEqual(0);
        for (const { task, nodeId } of placements) {
          if (nodeId !== undefined) continue;
          const needs = needsOf(task);
          const fits = [...left.values()].some(
            (room) =>
              (needs.nanoCpus === 0 || needs.nanoCpus <= room.nanoCpus) &&
              (needs.memoryBytes === 0 || needs.memoryBytes <= room.memoryBytes),
          );
          expect(fits).toBe(false);
        }
      },
    ),
    { numRuns: 60 },
  );
});
