import { silentLogger } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { TaskState, TaskStatus } from '@tessera/shared/model';
import { aTask, aTaskStatus, FakeClock, settle } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { type FakeBehaviour, FakeExecutor, FakeHost } from '../executor/testing/index.js';
import { TaskManager, type TaskManagerOptions } from './task-manager.js';

function setUp(behaviour: FakeBehaviour = {}, more: Partial<TaskManagerOptions> = {}) {
  const clock = new FakeClock();
  const host = new FakeHost(clock, behaviour);
  const reported: TaskStatus[] = [];
  const options: TaskManagerOptions = {
    controller: new FakeExecutor(host).controller(aTask()),
    clock,
    logger: silentLogger,
    mayStart: async () => {},
    inTurn: (work) => work(),
    onStatus: (status) => reported.push(status),
    ...more,
  };
  const begin = (state: TaskState = 'assigned', task = aTask()) =>
    new TaskManager(task, aTaskStatus({ state }), options);
  return { clock, host, reported, states: () => reported.map((s) => s.state).join(' '), begin };
}

test('a task is taken to running, and to failed when its container ends badly', async () => {
  const { host, begin, states, reported } = setUp();
  begin();
  await settle();
  expect(states()).toBe('accepted preparing ready starting running');
  expect(reported.at(-1)?.container?.pid).toBe(1000);

  host.exit('task-1', 9);
  await settle();

  expect(reported.at(-1)).toMatchObject({ state: 'failed', container: { exitCode: 9 } });
});

test('a shutdown interrupts the wait for an image that does not come', async () => {
  const { begin, states } = setUp({
    prepare: (_, signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
  });
  const manager = begin();
  await settle();
  expect(states()).toBe('accepted preparing');

  manager.update(aTask({ desiredState: 'shutdown' }));
  await settle();

  expect(states()).toBe('accepted preparing shutdown');
});

test('a step that fails for now is repeated, each time later', async () => {
  let attempts = 0;
  const { begin, clock, states } = setUp({
    prepare: async () => {
      if (++attempts < 4) throw new ClusterError('unavailable', 'no peer yet');
    },
  });
  begin();
  await settle();
  expect(attempts).toBe(1);

  await clock.advanceAsync(250);
  expect(attempts).toBe(2);
  await clock.advanceAsync(499);
  expect(attempts).toBe(2);
  await clock.advanceAsync(1);
  expect(attempts).toBe(3);
  await clock.advanceAsync(1_000);

  expect(states()).toBe('accepted preparing preparing ready starting running');
});

test('the agent stops: the container runs on, and nothing is reported of it', async () => {
  const { begin, host, states } = setUp();
  const manager = begin();
  await settle();

  await manager.close();

  expect(host.running()).toEqual(['task-1']);
  expect(states()).toBe('accepted preparing ready starting running');
});

test('a task found running is only waited for', async () => {
  const { begin, host, states } = setUp();
  const first = begin();
  await settle();
  await first.close();
  const { pid } = host.containers.get('task-1')!;

  const again = begin('running');
  await settle();

  expect(host.containers.get('task-1')?.pid).toBe(pid);
  host.exit('task-1', 0);
  await settle();
  expect(again.status.state).toBe('complete');
  expect(states().endsWith('running complete')).toBe(true);
});

test('removal ends the container first, and is tried until it is done', async () => {
  const { begin, host, clock } = setUp();
  const manager = begin();
  await settle();

  await manager.remove(new AbortController().signal);

  expect(manager.status.state).toBe('shutdown');
  expect(manager.status.container?.exitCode).toBe(143);
  expect(host.containers.size).toBe(0);
  expect(clock.nextAtMs()).toBeUndefined();
});

test('a start waits until it may, and a shutdown does not', async () => {
  let release: () => void = () => {};
  const { begin, states } = setUp(
    {},
    {
      mayStart: (_, signal) =>
        new Promise((resolve, reject) => {
          release = resolve;
          signal.addEventListener('abort', () => reject(signal.reason as Error));
        }),
    },
  );
  const manager = begin();
  await settle();
  expect(states()).toBe('accepted preparing ready');

  manager.update(aTask({ desiredState: 'shutdown' }));
  await settle();
  release();
  await settle();

  expect(states()).toBe('accepted preparing ready shutdown');
});
