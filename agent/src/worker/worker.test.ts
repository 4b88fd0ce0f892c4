import { silentLogger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Task, TaskStatus } from '@tessera/shared/model';
import { aTask, FakeClock, settle } from '@tessera/shared/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type FakeBehaviour, FakeExecutor, FakeHost } from '../executor/testing/index.js';
import type { DesiredNetworks } from '../network/network-plane.js';
import type { StoredTask } from '../storage/index.js';
import type { AssignedWork } from './assignment-set.js';
import { planTasks } from './plan.js';
import { Worker } from './worker.js';

class MemoryStorage {
  readonly tasks = new Map<string, StoredTask>();
  stored: DesiredNetworks | undefined;
  networks = () => this.stored;
  putNetworks = (networks: DesiredNetworks) => {
    this.stored = networks;
  };
  all = () => this.tasks;
  put = (stored: StoredTask) => void this.tasks.set(stored.task.id, stored);
  delete = (taskId: string) => void this.tasks.delete(taskId);
}

/** Networks whose application a test may hold back or fail. */
class FakePlane {
  readonly applied: number[] = [];
  held: (() => void)[] | undefined;
  failures = 0;

  latest: DesiredNetworks | undefined;

  async apply(desired: DesiredNetworks, sequence: number): Promise<void> {
    this.latest = desired;
    if (this.failures-- > 0) throw new ClusterError('unavailable', 'netlink busy');
    if (this.held) await new Promise<void>((resolve) => this.held?.push(resolve));
    this.applied.push(sequence);
  }
}

class FakeImages {
  readonly owners = new Set<string>();
  failures = 0;
  ensure = async (_: string, owner: string) => {
    if (this.failures-- > 0) throw new ClusterError('unavailable', 'no peer');
    this.owners.add(owner);
    return {} as never;
  };
  release = async (owner: string) => void this.owners.delete(owner);
}

let networksVersion = 0;
const work = (tasks: Task[], more: Partial<AssignedWork> = {}): AssignedWork => ({
  sequence: 1,
  tasks: new Map(tasks.map((task) => [task.id, task])),
  containers: new Map(),
  images: new Set(),
  volumes: new Map(),
  networks: { networks: [], endpoints: [], virtualServices: [] },
  networksVersion: ++networksVersion,
  node: undefined,
  ...more,
});

function setUp(behaviour: FakeBehaviour = {}) {
  const clock = new FakeClock();
  const host = new FakeHost(clock, behaviour);
  const storage = new MemoryStorage();
  const plane = new FakePlane();
  const images = new FakeImages();
  const reported: TaskStatus[] = [];
  const forgotten: string[] = [];
  const newWorker = () =>
    new Worker({
      executor: new FakeExecutor(host),
      storage,
      plane,
      images,
      clock,
      logger: silentLogger,
      reporter: { report: (status) => reported.push(status), forget: (id) => forgotten.push(id) },
    });
  const stateOf = (id: string) => reported.findLast((s) => s.taskId === id)?.state;
  return { clock, host, storage, plane, images, reported, forgotten, newWorker, stateOf };
}

const signal = new AbortController().signal;

describe('assignments', () => {
  test('a task assigned runs; one that is no longer assigned is ended and removed, with what was stored of it', async () => {
    const { newWorker, host, storage, stateOf, forgotten } = setUp();
    const worker = newWorker();
    worker.apply(work([aTask({ id: 'a' }), aTask({ id: 'b' })]), true);
    await settle();
    expect(host.running()).toEqual(['a', 'b']);

    worker.apply(work([aTask({ id: 'b' })]), false);
    await settle();

    expect(host.running()).toEqual(['b']);
    expect([...storage.tasks.keys()]).toEqual(['b']);
    expect(forgotten).toEqual(['a']);
    expect(stateOf('a')).toBe('running');
  });

  test('an ended task keeps its container, and its logs, until it is no longer assigned', async () => {
    const { newWorker, host, stateOf } = setUp();
    const worker = newWorker();
    worker.apply(work([aTask({ id: 'a' })]), true);
    await settle();
    worker.apply(work([aTask({ id: 'a', desiredState: 'shutdown' })]), false);
    await settle();
    expect(stateOf('a')).toBe('shutdown');
    expect(host.containers.get('a')?.state).toBe('exited');

    worker.apply(work([]), false);
    await settle();

    expect(host.containers.size).toBe(0);
  });

  test('a task assigned again while its container is taken apart starts anew once that is done', async () => {
    const { newWorker, host, storage } = setUp();
    const worker = newWorker();
    worker.apply(work([aTask({ id: 'a' })]), true);
    await settle();
    const firstPid = host.containers.get('a')?.pid;

    worker.apply(work([]), false);
    worker.apply(work([aTask({ id: 'a' })]), false);
    await settle();

    expect(host.running()).toEqual(['a']);
    expect(host.containers.get('a')?.pid).not.toBe(firstPid);
    expect(storage.tasks.get('a')?.status.state).toBe('running');
  });
});

describe('before a start', () => {
  test('the networks a task came with are in place', async () => {
    const { newWorker, plane, host, stateOf } = setUp();
    plane.held = [];
    const worker = newWorker();
    worker.apply(work([aTask({ id: 'a' })]), true);
    await settle();
    expect(stateOf('a')).toBe('ready');
    expect(host.running()).toEqual([]);

    plane.held[0]?.();
    await settle();

    expect(host.running()).toEqual(['a']);
  });

  test('what it supersedes on this node has ended', async () => {
    const { newWorker, host, stateOf } = setUp();
    const worker = newWorker();
    const old = aTask({ id: 'old' });
    worker.apply(work([old]), true);
    await settle();

    const replacement = aTask({ id: 'new', supersedes: ['old', 'on-another-node'] });
    worker.apply(work([old, replacement]), false);
    await settle();
    expect(stateOf('new')).toBe('ready');

    worker.apply(work([aTask({ id: 'old', desiredState: 'shutdown' }), replacement]), false);
    await settle();
    expect(host.running()).toEqual(['new']);
  });

  test('its time has come', async () => {
    const { newWorker, clock, host } = setUp();
    const worker = newWorker();
    worker.apply(work([aTask({ id: 'a', startNotBeforeMs: clock.now() + 5_000 })]), true);
    await clock.advanceAsync(4_999);
    expect(host.running()).toEqual([]);

    await clock.advanceAsync(1);

    expect(host.running()).toEqual(['a']);
  });

  test('no more than sixteen others are starting', async () => {
    let starting = 0;
    let most = 0;
    const gate: (() => void)[] = [];
    const { newWorker, host } = setUp({
      start: async () => {
        most = Math.max(most, ++starting);
        await new Promise<void>((resolve) => gate.push(resolve));
        starting--;
      },
    });
    const worker = newWorker();
    worker.apply(work(Array.from({ length: 50 }, (_, i) => aTask({ id: `t${i}` }))), true);
    await settle();
    while (gate.length > 0) {
      gate.shift()?.();
      await settle();
    }

    expect(most).toBe(16);
    expect(host.running()).toHaveLength(50);
  });
});

describe('networks', () => {
  test('they settle when the latest set is applied, also after failures', async () => {
    const { newWorker, plane, clock } = setUp();
    plane.failures = 2;
    const worker = newWorker();
    worker.apply(work([], { sequence: 7 }), true);
    let settled = false;
    void worker.settled(signal).then(() => {
      settled = true;
    });
    await clock.advanceAsync(500);
    expect(settled).toBe(false);

    await clock.advanceAsync(200);

    expect(settled).toBe(true);
    expect(plane.applied).toEqual([7]);
  });

  test('sets that come during a pass share the next one', async () => {
    const { newWorker, plane } = setUp();
    plane.held = [];
    const worker = newWorker();
    for (let sequence = 1; sequence <= 5; sequence++) worker.apply(work([], { sequence }), sequence === 1);
    await settle();
    plane.held[0]?.();
    await settle();
    plane.held[1]?.();
    await worker.settled(signal);

    expect(plane.applied).toEqual([1, 5]);
  });

  test('a set whose networks are the same is not applied again, except at the start of a session', async () => {
    const { newWorker, plane } = setUp();
    const worker = newWorker();
    worker.apply(work([], { sequence: 1, networksVersion: 1 }), true);
    await worker.settled(signal);
    worker.apply(work([], { sequence: 2, networksVersion: 1 }), false);
    await worker.settled(signal);
    worker.apply(work([], { sequence: 3, networksVersion: 1 }), true);
    await worker.settled(signal);

    expect(plane.applied).toEqual([1, 3]);
  });
});

test('images to hold are fetched until they are here, and released when no longer wanted', async () => {
  const { newWorker, images, clock } = setUp();
  images.failures = 1;
  const worker = newWorker();
  worker.apply(work([], { images: new Set(['sha256:a', 'sha256:b']) }), true);
  await clock.advanceAsync(2_000);
  expect([...images.owners].sort()).toEqual(['hold/sha256:a', 'hold/sha256:b']);

  worker.apply(work([], { images: new Set(['sha256:b']) }), false);
  await settle();

  expect([...images.owners]).toEqual(['hold/sha256:b']);
});

test('an image that cannot be had is tried again in its own time, whatever else is assigned', async () => {
  const { newWorker, images, clock } = setUp();
  images.failures = 1_000;
  const worker = newWorker();
  for (let sequence = 1; sequence <= 100; sequence++) {
    worker.apply(work([], { sequence, images: new Set(['sha256:a']) }), sequence % 10 === 1);
    await clock.advanceAsync(100);
  }

  // In those 10 s: at once, then after 1, 2 and 4 s, and once more for good measure.
  expect(1_000 - images.failures).toBeLessThanOrEqual(5);
});

describe('after the death of an agent', () => {
  test('tasks that run are adopted and never started again', async () => {
    const { newWorker, host, stateOf } = setUp();
    newWorker().apply(work([aTask({ id: 'a' })]), true);
    await settle();
    const { pid } = host.containers.get('a')!;

    const worker = newWorker();
    await worker.recover();
    worker.apply(work([aTask({ id: 'a' })]), true);
    await settle();

    expect(host.containers.get('a')?.pid).toBe(pid);
    expect(worker.statuses().map((s) => s.state)).toEqual(['running']);
    host.exit('a', 0);
    await settle();
    expect(stateOf('a')).toBe('complete');
  });

  test('an exit that nobody saw is reported with its code', async () => {
    const { newWorker, host, storage } = setUp();
    const first = newWorker();
    first.apply(work([aTask({ id: 'a' })]), true);
    await settle();
    await first.close();
    host.exit('a', 42);

    const worker = newWorker();
    await worker.recover();
    await settle();

    expect(storage.tasks.get('a')?.status).toMatchObject({ state: 'failed', container: { exitCode: 42 } });
  });

  test('a task that had not started waits for a session', async () => {
    const { newWorker, plane, host } = setUp();
    plane.held = [];
    const first = newWorker();
    first.apply(work([aTask({ id: 'a' })]), true);
    await settle();
    await first.close();
    plane.held = undefined;

    const worker = newWorker();
    await worker.recover();
    await settle();
    expect(host.running()).toEqual([]);

    worker.apply(work([aTask({ id: 'a' })]), true);
    await settle();
    expect(host.running()).toEqual(['a']);
  });

  test('its networks are in place again before its containers are adopted, and without a manager', async () => {
    const { newWorker, plane, storage, clock } = setUp();
    const networks = { networks: [{ dataPathPort: 4789 } as never], endpoints: [], virtualServices: [] };
    newWorker().apply(work([], { networks }), true);
    await clock.advanceAsync(500);
    expect(storage.stored).toBe(networks);
    plane.applied.length = 0;

    await newWorker().recover();

    expect(plane.applied).toEqual([0]);
    expect(plane.latest).toBe(networks);
  });

  test('a task that the new session does not assign is ended and removed', async () => {
    const { newWorker, host, storage } = setUp();
    newWorker().apply(work([aTask({ id: 'a' })]), true);
    await settle();

    const worker = newWorker();
    await worker.recover();
    worker.apply(work([]), true);
    await settle();

    expect(host.containers.size).toBe(0);
    expect(storage.tasks.size).toBe(0);
  });
});

test('a node that leaves has nothing left', async () => {
  const { newWorker, host, storage } = setUp();
  const worker = newWorker();
  worker.apply(work([aTask({ id: 'a' }), aTask({ id: 'b' })]), true);
  await settle();

  await worker.removeAll();

  expect(host.containers.size).toBe(0);
  expect(storage.tasks.size).toBe(0);
});

test('a plan brings what is here to what is assigned, whatever both are, and then has nothing left to do', () => {
  const ids = fc.uniqueArray(fc.constantFrom(...'abcdefgh'), { maxLength: 8 });
  fc.assert(
    fc.property(ids, ids, ids, (hereIds, assignedIds, leavingIds) => {
      const here = new Map(hereIds.map((id) => [id, aTask({ id })]));
      const assigned = new Map(assignedIds.map((id) => [id, aTask({ id })]));
      const leaving = new Set(leavingIds.filter((id) => here.has(id)));

      const after = new Map(here);
      for (const change of planTasks(here, leaving, assigned)) {
        if (change.kind === 'remove') {
          expect(leaving.has(change.taskId)).toBe(false);
          after.delete(change.taskId);
        } else {
          expect(after.has(change.task.id)).toBe(change.kind === 'update');
          after.set(change.task.id, change.task);
        }
      }
      // What leaves is gone one day; what was assigned meanwhile is then seen as new.
      for (const id of leaving) after.delete(id);
      for (const change of planTasks(after, new Set(), assigned)) {
        expect(change.kind).toBe('start');
        if (change.kind === 'start') {
          expect(leaving.has(change.task.id)).toBe(true);
          after.set(change.task.id, change.task);
        }
      }
      expect(planTasks(after, new Set(), assigned)).toEqual([]);
      expect(new Set(after.keys())).toEqual(new Set(assigned.keys()));
    }),
  );
});
