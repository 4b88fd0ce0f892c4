import { ClusterError } from '@tessera/shared/errors';
import { isBefore, type TaskState } from '@tessera/shared/model';
import { aTaskStatus } from '@tessera/shared/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Controller, type ExitStatus, StartError } from '../executor/executor.js';
import { advance, nextStep } from './advance.js';

const STATES: TaskState[] = [
  ...(['new', 'pending', 'assigned', 'accepted', 'preparing', 'ready', 'starting', 'running'] as const),
  ...(['complete', 'shutdown', 'failed', 'rejected', 'orphaned', 'remove'] as const),
];
const exited = (exitCode: number, more: Partial<ExitStatus> = {}): ExitStatus => ({
  exitCode,
  oomKilled: false,
  finishedAtMs: 5,
  ...more,
});

function aController(part: Partial<Controller> = {}): Controller {
  return {
    prepare: async () => {},
    start: async () => {},
    ready: async () => {},
    wait: async () => exited(0),
    shutdown: async () => exited(143),
    remove: async () => {},
    status: () => ({
      containerId: 'c',
      pid: 7,
      exitCode: 0,
      oomKilled: false,
      startedAtMs: 1,
      finishedAtMs: 0,
    }),
    ...part,
  };
}
const step = (
  state: TaskState,
  controller: Partial<Controller> = {},
  desired: TaskState = 'running',
  signal = new AbortController().signal,
) => advance(aTaskStatus({ state }), desired, aController(controller), signal);
const failing = (error: unknown) => ({
  prepare: () => Promise.reject(error),
  start: () => Promise.reject(error),
  wait: () => Promise.reject(error),
  shutdown: () => Promise.reject(error),
});

describe('the next step', () => {
  test('a task meant to run goes through every state up to running, and then waits for its end', () => {
    const path = ['assigned'];
    for (let state: TaskState = 'assigned'; ; ) {
      const next = nextStep(state, 'running');
      if (!next) break;
      state = next.to;
      path.push(state);
    }

    expect(path.join(' ')).toBe('assigned accepted preparing ready starting running complete');
  });

  test('a task meant to be ready stops there, with its image here and nothing started', () => {
    expect(nextStep('preparing', 'ready')?.to).toBe('ready');
    expect(nextStep('ready', 'ready')).toBeUndefined();
  });

  test('a task meant to end is shut down from wherever it is', () => {
    for (const state of STATES.filter((s) => isBefore(s, 'complete')))
      for (const desired of ['shutdown', 'remove'] as const)
        expect(nextStep(state, desired)?.to).toBe('shutdown');
  });

  test('states only go forward, and an ended task takes no step', () => {
    fc.assert(
      fc.property(fc.constantFrom(...STATES), fc.constantFrom(...STATES), (observed, desired) => {
        const next = nextStep(observed, desired);
        if (!isBefore(observed, 'complete')) expect(next).toBeUndefined();
        else if (next) expect(isBefore(observed, next.to)).toBe(true);
      }),
    );
  });
});

describe('a step', () => {
  test('a container that ends with 0 completes its task; any other code fails it', async () => {
    const complete = await step('running');
    const failed = await step('running', { wait: async () => exited(3) });

    expect(complete.status).toMatchObject({ state: 'complete', error: '', container: { exitCode: 0 } });
    expect(failed.status).toMatchObject({
      state: 'failed',
      error: 'task: non-zero exit (3)',
      container: { exitCode: 3, pid: 0, startedAtMs: 1, finishedAtMs: 5 },
    });
  });

  test('why it ended is told where the code does not: out of memory, a shim that was lost', async () => {
    const oom = await step('running', { wait: async () => exited(137, { oomKilled: true }) });
    const lost = await step('running', { wait: async () => exited(137, { error: 'shim lost' }) });

    expect(oom.status.error).toBe('task: non-zero exit (137): out of memory');
    expect(oom.status.container?.oomKilled).toBe(true);
    expect(lost.status.error).toBe('task: non-zero exit (137): shim lost');
  });

  test('an exit that was asked for is a shutdown, with the code it really had', async () => {
    const killed = await step('running', { shutdown: async () => exited(137) }, 'shutdown');
    const neverRan = await step(
      'preparing',
      { shutdown: async () => undefined, status: () => undefined },
      'shutdown',
    );

    expect(killed.status).toMatchObject({ state: 'shutdown', error: '', container: { exitCode: 137 } });
    expect(neverRan.status).toMatchObject({ state: 'shutdown', container: undefined });
  });

  test('what fails before the start is rejected; a command that cannot be executed has failed, with its code', async () => {
    const rejected = await step('preparing', failing(new ClusterError('notFound', 'no such image')));
    const failed = await step('starting', failing(new StartError(127, 'httpd: not found')));

    expect(rejected.status).toMatchObject({ state: 'rejected', error: 'no such image' });
    expect(failed.status).toMatchObject({
      state: 'failed',
      error: 'httpd: not found',
      container: { exitCode: 127 },
    });
  });

  test('what may pass is tried again and says why it waits', async () => {
    const { status, retry } = await step(
      'preparing',
      failing(new ClusterError('unavailable', 'no peer has it')),
    );

    expect(status).toMatchObject({ state: 'preparing', error: 'no peer has it' });
    expect(retry).toBe(true);
  });

  test('a shutdown is never given up: whatever ran would run on', async () => {
    const { status, retry } = await step('running', failing(new Error('cgroup busy')), 'shutdown');

    expect(status).toMatchObject({ state: 'running', error: 'cgroup busy' });
    expect(retry).toBe(true);
  });

  test('interrupted work leaves the status as it was', async () => {
    const abort = new AbortController();
    abort.abort();
    const { status, retry } = await step(
      'starting',
      failing(new ClusterError('internal', 'torn')),
      'running',
      abort.signal,
    );

    expect(status).toEqual(aTaskStatus({ state: 'starting' }));
    expect(retry).toBe(false);
  });
});
