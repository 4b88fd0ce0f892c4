import type { TaskJson } from '@tessera/shared/docker-api';
import { expect, test } from 'vitest';
import { aNode, aService, aTask } from '../../testing/samples.js';
import { planProgress } from './progress.js';

const nodes = [aNode(1), aNode(2)];
const withState = (slot: number, state: string, part: Partial<TaskJson> = {}): TaskJson =>
  aTask(slot, { Status: { State: state, Timestamp: '', PortStatus: {} }, ...part });

test('a service is complete once a task runs in each slot', () => {
  const two = planProgress(aService(), [aTask(1), aTask(2)], nodes);
  const three = planProgress(aService(), [aTask(1), aTask(2), aTask(3)], nodes);

  expect(two).toMatchObject({ summary: 'overall progress: 2 out of 3 tasks', isComplete: false });
  expect(three).toMatchObject({ summary: 'overall progress: 3 out of 3 tasks', isComplete: true });
});

test('one slot with an old and a new task counts once', () => {
  const tasks = [aTask(1), aTask(2), aTask(3), withState(1, 'failed', { ID: 'old', CreatedAt: '2025' })];

  expect(planProgress(aService(), tasks, nodes).isComplete).toBe(true);
});

test('a task that is on its way out does not count, one too many is not yet converged', () => {
  const leaving = aTask(3, { DesiredState: 'shutdown' });

  expect(planProgress(aService(), [aTask(1), aTask(2), leaving], nodes).isComplete).toBe(false);
  expect(
    planProgress(
      aService(),
      [1, 2, 3, 4].map((slot) => aTask(slot)),
      nodes,
    ).isComplete,
  ).toBe(false);
});

test('what a lost node says to run is not believed', () => {
  const lost = [aNode(1), aNode(2, { Status: { State: 'down', Addr: '' } })];

  expect(planProgress(aService(), [aTask(1), aTask(2), aTask(3)], lost).summary).toContain('2 out of 3');
});

test('each slot shows how far it is, and why it waits', () => {
  const waiting = withState(2, 'pending', {
    Status: {
      State: 'pending',
      Timestamp: '',
      Err: 'no suitable node (insufficient resources on 2 nodes)',
      PortStatus: {},
    },
  });

  const { slots, waiting: reasons } = planProgress(aService(), [withState(1, 'preparing'), waiting], nodes);

  expect(slots[0]).toMatch(/^1\/3: preparing \[=+> +\]$/);
  expect(slots[1]).toBe('2/3: no suitable node (insufficient resources on 2 nodes)');
  expect(slots[2]).toBe('3/3: ');
  expect(reasons).toEqual(['no suitable node (insufficient resources on 2 nodes)']);
});

test('a global service wants a task on each node that is ready and active', () => {
  const spec = { ...aService().Spec, Mode: { Global: {} } };
  const three = [...nodes, aNode(3, { Spec: { Role: 'worker', Availability: 'drain' } })];
  const tasks = [1, 2].map((number) => aTask(number, { Slot: 0, NodeID: aNode(number).ID }));

  expect(planProgress(aService({ Spec: spec }), tasks, three).isComplete).toBe(true);
});

test('an update is complete when it says so, and failed when it is paused', () => {
  const tasks = [1, 2, 3].map((slot) => aTask(slot));
  const during = aService({ UpdateStatus: { State: 'updating', Message: '' } });
  const paused = aService({ UpdateStatus: { State: 'paused', Message: 'task failed' } });

  expect(planProgress(during, tasks, nodes).isComplete).toBe(false);
  expect(planProgress(paused, tasks, nodes).failure).toBe('service update paused: task failed');
});

test('what ended in a slot is told while nothing runs there', () => {
  const failed = withState(1, 'failed', {
    ID: 'old',
    CreatedAt: '2025',
    DesiredState: 'shutdown',
    Status: { State: 'failed', Timestamp: '', Err: 'exec: not found', PortStatus: {} },
  });

  const waiting = planProgress(aService(), [failed, withState(1, 'ready', { DesiredState: 'ready' })], nodes);
  const running = planProgress(aService(), [failed, aTask(1)], nodes);

  expect(waiting).toMatchObject({
    slots: ['1/3: exec: not found', '2/3: ', '3/3: '],
    waiting: ['exec: not found'],
  });
  expect(waiting.failure).toBeUndefined();
  expect(running.waiting).toEqual([]);
});

const withPolicy = (policy: object) => {
  const { Spec } = aService();
  return aService({
    Spec: {
      ...Spec,
      Mode: { Replicated: { Replicas: 1 } },
      TaskTemplate: { ...Spec.TaskTemplate, RestartPolicy: policy },
    },
  });
};
const ended = (state: string, id = state) =>
  withState(1, state, {
    ID: id,
    DesiredState: 'shutdown',
    Status: { State: state, Timestamp: '', PortStatus: {} },
  });

test('work that is done once and for all is progress', () => {
  expect(planProgress(withPolicy({ Condition: 'none' }), [ended('complete')], nodes).isComplete).toBe(true);
  expect(planProgress(withPolicy({ Condition: 'on-failure' }), [ended('complete')], nodes).isComplete).toBe(
    true,
  );
  expect(planProgress(withPolicy({ Condition: 'any' }), [ended('complete')], nodes)).toMatchObject({
    isComplete: false,
  });
});

test('a task that failed and is not restarted is a failure, one that will be is not', () => {
  const twice = [ended('failed', 'a'), ended('failed', 'b')];

  expect(planProgress(withPolicy({ Condition: 'none' }), [ended('failed')], nodes).failure).toBe(
    'task web.1 has ended and is not restarted: failed',
  );
  expect(planProgress(withPolicy({ MaxAttempts: 1 }), twice, nodes).failure).toContain('not restarted');
  expect(planProgress(withPolicy({ MaxAttempts: 2 }), twice, nodes).failure).toBeUndefined();
  expect(planProgress(withPolicy({ Condition: 'any' }), twice, nodes).failure).toBeUndefined();
  expect(planProgress(withPolicy({ Condition: 'none' }), [ended('shutdown')], nodes).failure).toBeUndefined();
});
