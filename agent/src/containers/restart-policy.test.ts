import { ContainerRestartPolicy } from '@tessera/shared/model';
import { expect, test } from 'vitest';
import { comesBack, nextBackoffMs } from './restart-policy.js';

const policy = (part: Partial<ContainerRestartPolicy>) => ContainerRestartPolicy.create(part);
const ending = { exitCode: 0, stoppedByUser: false, restartCount: 0 };

test('what comes back is as the policy says', () => {
  expect(comesBack(undefined, ending)).toBe(false);
  expect(comesBack(policy({ name: 'no' }), { ...ending, exitCode: 1 })).toBe(false);
  expect(comesBack(policy({ name: 'always' }), { ...ending, stoppedByUser: true })).toBe(true);
  expect(comesBack(policy({ name: 'unless_stopped' }), ending)).toBe(true);
  expect(comesBack(policy({ name: 'unless_stopped' }), { ...ending, stoppedByUser: true })).toBe(false);
  expect(comesBack(policy({ name: 'on_failure' }), ending)).toBe(false);
  expect(comesBack(policy({ name: 'on_failure' }), { ...ending, exitCode: 3, restartCount: 99 })).toBe(true);
  const twice = policy({ name: 'on_failure', maxRetries: 2 });
  expect(comesBack(twice, { ...ending, exitCode: 3, restartCount: 1 })).toBe(true);
  expect(comesBack(twice, { ...ending, exitCode: 3, restartCount: 2 })).toBe(false);
});

test('the delay doubles from 100 ms to a minute, and begins anew after a run of 10 s', () => {
  const delays = [nextBackoffMs(0, 5)];
  while (delays.length < 12) delays.push(nextBackoffMs(delays.at(-1)!, 5));
  expect(delays.slice(0, 4)).toEqual([100, 200, 400, 800]);
  expect(delays.slice(-2)).toEqual([60_000, 60_000]);
  expect(nextBackoffMs(60_000, 9_999)).toBe(60_000);
  expect(nextBackoffMs(60_000, 10_000)).toBe(100);
});
