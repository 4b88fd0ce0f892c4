import { ServiceStatus, UpdateConfig, type UpdateStatus } from '@tessera/shared/model';
import { expect, test } from 'vitest';
import { allSlots } from '../slots.js';
import { aContext, type FactsParts, facts, inWords, NOW_MS, replicated } from '../testing/index.js';
import { planUpdate } from './plan.js';

interface Parts {
  readonly config?: Partial<UpdateConfig>;
  readonly rollback?: Partial<UpdateConfig>;
  readonly status?: Partial<UpdateStatus>;
  readonly tasks: readonly FactsParts[];
  readonly stopped?: readonly string[];
  readonly previous?: boolean;
}

/** A service at version 2, written at index 7. */
function plan({ config, rollback, status, tasks, stopped = [], previous = true }: Parts) {
  const spec = {
    update: config && UpdateConfig.fromPartial({ parallelism: 1, ...config }),
    rollback: rollback && UpdateConfig.fromPartial({ parallelism: 1, ...rollback }),
  };
  const meta = { createdAtMs: 0, updatedAtMs: 0, index: 7 };
  const service = replicated(tasks.length, spec, { meta, specVersion: 2 });
  const withPrevious = previous ? { ...service, previousSpec: service.spec } : service;
  const slots = allSlots(tasks.map(facts));
  const stored =
    status && ServiceStatus.fromPartial({ serviceId: service.id, update: { serviceIndex: 7, ...status } });
  return planUpdate(withPrevious, stored, slots, slots, aContext({ service: withPrevious, stopped }));
}

const old = (slot: number): FactsParts => ({ slot, specVersion: 1 });
const fresh = (slot: number, parts: FactsParts = {}): FactsParts => ({
  slot,
  number: 2,
  specVersion: 2,
  ...parts,
});
const under = { state: 'updating' as const, startedAtMs: NOW_MS - 1_000 };

test('a service whose tasks are of its template has no update', () => {
  expect(plan({ tasks: [fresh(1), fresh(2)] })).toEqual({
    changes: [],
    status: undefined,
    rollBack: false,
    wakeAtMs: undefined,
  });
});

test('one task at a time is replaced unless more are allowed', () => {
  const first = plan({ tasks: [old(1), old(2), old(3)] });

  expect(inWords(first.changes)).toEqual(['replace 1.1 by 1.2 ready']);
  expect(first.status).toMatchObject({ state: 'updating', startedAtMs: NOW_MS, serviceIndex: 7 });
  expect(inWords(plan({ config: { parallelism: 2 }, tasks: [old(1), old(2), old(3)] }).changes)).toHaveLength(
    2,
  );
  expect(inWords(plan({ config: { parallelism: 0 }, tasks: [old(1), old(2), old(3)] }).changes)).toHaveLength(
    3,
  );
});

test('the next one waits until the last one runs', () => {
  expect(plan({ status: under, tasks: [fresh(1, { observed: 'starting' }), old(2)] }).changes).toEqual([]);
  expect(inWords(plan({ status: under, tasks: [fresh(1), old(2)] }).changes)).toEqual([
    'replace 2.1 by 2.2 ready',
  ]);
});

test('the next one waits for the delay after the last one has begun to run', () => {
  const config = { delayMs: 10_000 };

  const early = plan({ config, status: under, tasks: [fresh(1, { runningForMs: 4_000 }), old(2)] });
  expect(early.changes).toEqual([]);
  expect(early.wakeAtMs).toBe(NOW_MS + 6_000);
  expect(
    plan({ config, status: under, tasks: [fresh(1, { runningForMs: 10_000 }), old(2)] }).changes,
  ).toHaveLength(1);
});

test('a node whose clock is ahead does not hold up the update', () => {
  const config = { delayMs: 10_000 };

  expect(
    plan({ config, status: under, tasks: [fresh(1, { runningForMs: -3_600_000 }), old(2)] }).changes,
  ).toHaveLength(1);
});

test('tasks that do not run are replaced first', () => {
  const { changes } = plan({ tasks: [old(1), { ...old(2), observed: 'assigned' }] });

  expect(inWords(changes)).toEqual(['replace 2.1 by 2.2 ready']);
});

test('start-first makes the new task beside the old one', () => {
  const config = { order: 'start_first' as const };

  const { changes } = plan({ config, tasks: [old(1)] });
  expect(inWords(changes)).toEqual(['create 1.2 running']);
  expect(changes[0]).toMatchObject({ create: { supersedes: [] } });
  expect(
    plan({ config, status: under, tasks: [old(1), fresh(1, { observed: 'preparing' })] }).changes,
  ).toEqual([]);
});

test('an update that fails pauses, and says which task failed', () => {
  const { changes, status } = plan({
    status: under,
    tasks: [fresh(1, { observed: 'failed', ranMs: 1_000 }), old(2)],
  });

  expect(changes).toEqual([]);
  expect(status).toMatchObject({
    state: 'paused',
    message: 'update paused due to failure or early termination of task 1.2',
    failedSlots: ['1'],
  });
  const paused = { state: 'paused' as const, failedSlots: ['1'] };
  expect(plan({ status: paused, tasks: [fresh(1), old(2)] })).toMatchObject({
    changes: [],
    status: undefined,
  });
});

test('a task that fails after it was watched for long enough is no failure of the update', () => {
  const config = { monitorMs: 5_000 };

  const { status } = plan({
    config,
    status: under,
    tasks: [fresh(1, { observed: 'failed', ranMs: 5_000 }), old(2)],
  });

  expect(status?.state ?? 'updating').toBe('updating');
});

test('an update goes on past failures when it is told to, or while they are few enough', () => {
  const tasks = [fresh(1, { observed: 'failed', ranMs: 1_000 }), old(2), old(3)];

  expect(plan({ config: { failureAction: 'proceed' }, status: under, tasks }).changes).toHaveLength(1);
  expect(plan({ config: { maxFailureRatio: 0.4 }, status: under, tasks }).changes).toHaveLength(1);
  expect(plan({ config: { maxFailureRatio: 0.3 }, status: under, tasks }).status?.state).toBe('paused');
});

test('an update that fails rolls back when it is told to, once', () => {
  const config = { failureAction: 'rollback' as const };
  const tasks = [fresh(1, { observed: 'failed', ranMs: 1_000 }), old(2)];

  expect(plan({ config, status: under, tasks })).toMatchObject({
    rollBack: true,
    status: { state: 'rollback_started', serviceIndex: 0 },
  });
  const rollingBack = { state: 'rollback_started' as const, serviceIndex: 0 };
  expect(plan({ config, status: rollingBack, tasks })).toMatchObject({
    rollBack: false,
    status: { state: 'rollback_paused' },
  });
  expect(plan({ config, status: under, tasks, previous: false }).status?.state).toBe('paused');
});

test('an update is complete when every new task has been watched', () => {
  const watched = plan({ status: under, tasks: [fresh(1), fresh(2, { runningForMs: 2_000 })] });
  expect(watched).toMatchObject({ changes: [], status: undefined, wakeAtMs: NOW_MS + 3_000 });

  const done = plan({ status: under, tasks: [fresh(1), fresh(2, { runningForMs: 5_000 })] });
  expect(done.status).toMatchObject({ state: 'completed', completedAtMs: NOW_MS });
});

test('a paused update begins anew with the next write of the user', () => {
  const { changes, status } = plan({
    status: { state: 'paused', serviceIndex: 6, failedSlots: ['1'] },
    tasks: [fresh(1), old(2)],
  });

  expect(inWords(changes)).toEqual(['replace 2.1 by 2.2 ready']);
  expect(status).toMatchObject({ state: 'updating', serviceIndex: 7, failedSlots: [] });
});
