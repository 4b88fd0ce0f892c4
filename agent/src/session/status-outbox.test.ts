import type { ContainerState } from '@tessera/shared/model';
import { aContainerState, aTaskStatus } from '@tessera/shared/testing';
import type { StatusBatch } from '@tessera/shared/wire';
import { expect, test } from 'vitest';
import { StatusOutbox } from './status-outbox.js';

const task = (taskId: string, state: 'preparing' | 'running' = 'running') => aTaskStatus({ taskId, state });
const container = (containerId: string, state: ContainerState['state'], sequence: number) =>
  aContainerState({ containerId, state, sequence });
const words = (batch: StatusBatch | undefined) =>
  batch && [
    ...batch.statuses.map(({ taskId, state }) => `${taskId} ${state}`),
    ...batch.containers.map(({ containerId, state }) => `${containerId} ${state}`),
  ];

test('an end is sent while the start before it has not been acknowledged yet', () => {
  const outbox = new StatusOutbox();
  outbox.reportContainer(container('c', 'running', 1));
  const start = outbox.next();
  outbox.reportContainer(container('c', 'exited', 2));
  const end = outbox.next();

  expect([words(start), words(end)]).toEqual([['c running'], ['c exited']]);
  expect([start?.number, end?.number]).toEqual([1, 2]);
  outbox.acknowledge(1);
  expect(outbox.isEmpty).toBe(false);
  outbox.acknowledge(2);
  expect(outbox.isEmpty).toBe(true);
});

test('four are under way at most; of what comes meanwhile the latest shares the next', () => {
  const outbox = new StatusOutbox();
  for (const id of ['a', 'b', 'c', 'd']) {
    outbox.report(task(id));
    expect(words(outbox.next())).toEqual([`${id} running`]);
  }
  outbox.report(task('e', 'preparing'));
  outbox.report(task('f'));
  outbox.report(task('e'));
  expect(outbox.next()).toBeUndefined();

  outbox.acknowledge(1);

  expect(words(outbox.next())).toEqual(['e running', 'f running']);
});

test('what is not acknowledged is sent again as one, the latest of each, and late answers to it count for nothing', () => {
  const outbox = new StatusOutbox();
  outbox.report(task('a', 'preparing'));
  outbox.next();
  outbox.report(task('b'));
  outbox.next();
  outbox.report(task('a'));
  const again = outbox.again();

  expect(words(again)?.sort()).toEqual(['a running', 'b running']);
  outbox.acknowledge(1);
  outbox.acknowledge(2);
  expect(outbox.isEmpty).toBe(false);
  outbox.acknowledge(again!.number);
  expect(outbox.isEmpty).toBe(true);
  expect(outbox.again()).toBeUndefined();
});

test('what a session did not live to see acknowledged is of the next one, unless it is to be forgotten', () => {
  const outbox = new StatusOutbox();
  outbox.report(task('a'));
  outbox.reportContainer(container('c', 'running', 1));
  outbox.next();
  outbox.reportContainer(container('d', 'exited', 1));
  outbox.next();
  outbox.forget('a');
  outbox.end();
  outbox.forgetContainer('d');
  let ready = 0;
  outbox.begin([], () => ready++, [container('c', 'exited', 2)]);

  expect(words(outbox.next())).toEqual(['c exited']);
  outbox.acknowledge(1);
  expect(outbox.isEmpty).toBe(true);
  outbox.report(task('b'));
  expect(ready).toBe(1);
});
