import type { ServiceSpec } from '@tessera/shared/model';
import { aTaskSpec } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { planSlot } from './slot-plan.js';
import {
  aContext,
  type ContextParts,
  type FactsParts,
  facts,
  inWords,
  NOW_MS,
  replicated,
  slotOf,
} from './testing/index.js';

const plan = (tasks: FactsParts[], context: ContextParts = {}) =>
  planSlot(slotOf(...tasks.map(facts)), aContext(context));

const withPolicy = (restart: Partial<ServiceSpec['task'] & object>['restart']) => ({
  service: replicated(1, { task: aTaskSpec({ restart }) }),
});

test('a task that runs is left alone', () => {
  expect(plan([{}])).toEqual({ changes: [], wakeAtMs: undefined });
});

test('a task that has ended is replaced in its slot, to start after the delay of its policy', () => {
  const { changes, wakeAtMs } = plan([{ observed: 'failed', ranMs: 100 }], { stopped: ['1.1'] });

  expect(inWords(changes)).toEqual(['replace 1.1 by 1.2 ready']);
  expect(changes[0]).toMatchObject({
    create: { restart: { startNotBeforeMs: NOW_MS + 5_000, failureStreak: 1 }, supersedes: ['1.1'] },
  });
  expect(wakeAtMs).toBe(NOW_MS + 5_000);
});

test('the replacement starts when its time has come, and not before', () => {
  const waiting = {
    number: 2,
    desiredState: 'ready' as const,
    observed: 'ready' as const,
    startNotBeforeMs: NOW_MS + 300,
  };

  expect(plan([waiting])).toEqual({ changes: [], wakeAtMs: NOW_MS + 300 });
  expect(inWords(plan([waiting], { nowMs: NOW_MS + 300 }).changes)).toEqual(['start 1.2']);
});

test('the replacement starts when what it supersedes has stopped, and not before', () => {
  const old = { number: 1, desiredState: 'shutdown' as const };
  const waiting = {
    number: 2,
    desiredState: 'ready' as const,
    observed: 'ready' as const,
    supersedes: ['1.1'],
  };

  expect(plan([old, waiting]).changes).toEqual([]);
  expect(inWords(plan([old, waiting], { stopped: ['1.1'] }).changes)).toEqual(['start 1.2']);
});

test('a replacement that fails while it waits is not replaced before it was due', () => {
  const rejected = {
    number: 2,
    observed: 'rejected' as const,
    desiredState: 'ready' as const,
    failureStreak: 1,
    startNotBeforeMs: NOW_MS + 700,
  };

  expect(plan([rejected])).toEqual({ changes: [], wakeAtMs: NOW_MS + 700 });
  expect(inWords(plan([rejected], { nowMs: NOW_MS + 700, stopped: ['1.2'] }).changes)).toEqual([
    'replace 1.2 by 1.3 ready',
  ]);
});

test.each(['down', 'drained', 'unfit', 'gone'] as const)(
  'a task whose node is %s moves at once',
  (verdict) => {
    const { changes } = plan([{ nodeId: 'lost' }], { verdicts: { lost: verdict }, stopped: ['1.1'] });

    expect(inWords(changes)).toEqual(['replace 1.1 by 1.2 running']);
    expect(changes[0]).toMatchObject({ create: { supersedes: ['1.1'], restart: { failureStreak: 0 } } });
  },
);

test('a task on a drained node runs until its replacement may start', () => {
  const { changes } = plan([{ nodeId: 'lost' }], { verdicts: { lost: 'drained' } });

  expect(inWords(changes)).toEqual(['replace 1.1 by 1.2 ready']);
});

test('a task stays where so many nodes are silent that replacement is paced', () => {
  expect(plan([{ nodeId: 'lost' }], { verdicts: { lost: 'silent' } }).changes).toEqual([]);
});

test('a task that moves keeps its back-off', () => {
  const looping = {
    nodeId: 'lost',
    failureStreak: 4,
    restartCount: 6,
    startNotBeforeMs: NOW_MS + 9_000,
    desiredState: 'ready' as const,
    observed: 'ready' as const,
  };

  const { changes } = plan([looping], { verdicts: { lost: 'down' }, stopped: ['1.1'] });

  expect(changes[0]).toMatchObject({
    create: {
      desiredState: 'ready',
      restart: { failureStreak: 4, restartCount: 6, startNotBeforeMs: NOW_MS + 9_000 },
    },
  });
});

test('what its policy does not restart stays ended, wherever its node went', () => {
  const never = withPolicy({ condition: 'none', delayMs: 0, maxAttempts: 0, windowMs: 0 });
  const onFailure = withPolicy({ condition: 'on_failure', delayMs: 0, maxAttempts: 0, windowMs: 0 });

  expect(inWords(plan([{ observed: 'failed', ranMs: 1 }], never).changes)).toEqual(['shutdown 1.1']);
  expect(inWords(plan([{ observed: 'complete', ranMs: 1 }], onFailure).changes)).toEqual(['shutdown 1.1']);
  expect(
    inWords(plan([{ observed: 'failed', ranMs: 1 }], { ...onFailure, stopped: ['1.1'] }).changes),
  ).toEqual(['replace 1.1 by 1.2 running']);
  expect(plan([{ observed: 'complete', desiredState: 'shutdown' }], never).changes).toEqual([]);
});

test('the older one of a start-first pair goes when the newer one runs', () => {
  const older = { number: 1, specVersion: 1 };

  expect(plan([older, { number: 2, observed: 'starting' }]).changes).toEqual([]);
  expect(inWords(plan([older, { number: 2 }]).changes)).toEqual(['shutdown 1.1']);
});

test('the first of three goes when the second one runs, although the third does not yet', () => {
  const { changes } = plan([{ number: 1 }, { number: 2 }, { number: 3, observed: 'assigned' }]);

  expect(inWords(changes)).toEqual(['shutdown 1.1']);
});

test('the older one of a pair starts too when its time has come: the newer one may never', () => {
  const older = { number: 1, desiredState: 'ready' as const, observed: 'ready' as const };

  expect(inWords(plan([older, { number: 2, observed: 'assigned' }]).changes)).toEqual(['start 1.1']);
});

test('when the newer one of a start-first pair fails, the older one runs on', () => {
  const { changes } = plan([{ number: 1 }, { number: 2, observed: 'failed', ranMs: 10 }], {
    stopped: ['1.2'],
  });

  expect(inWords(changes)).toEqual(['replace 1.2 by 1.3 ready']);
  expect(changes[0]).toMatchObject({ create: { supersedes: ['1.2'] } });
});

test('a task of a node given up for good moves, and is not counted as a failure', () => {
  const { changes } = plan([{ observed: 'orphaned', state: 'orphaned' }], { stopped: ['1.1'] });

  expect(inWords(changes)).toEqual(['replace 1.1 by 1.2 running']);
});
