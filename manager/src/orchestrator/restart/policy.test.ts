import { RestartPolicy } from '@tessera/shared/model';
import { expect, test } from 'vitest';
import { facts, NOW_MS } from '../testing/index.js';
import { planRestart, restartDelayMs } from './policy.js';

const policy = (parts: Partial<RestartPolicy> = {}) =>
  RestartPolicy.fromPartial({ condition: 'any', delayMs: 5_000, ...parts });

test('the first failure waits for the delay of the policy, each one in a row twice as long, up to five minutes', () => {
  const delays = [1, 2, 3, 4, 5, 6, 7, 8, 50].map((streak) => restartDelayMs(policy(), streak));

  expect(delays).toEqual([5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]);
});

test('without a policy the delay is five seconds, as with Docker', () => {
  expect(restartDelayMs(undefined, 1)).toBe(5_000);
});

test('a policy without delay restarts at once, and backs off from one second when that fails too', () => {
  const delays = [0, 1, 2, 3, 4].map((streak) => restartDelayMs(policy({ delayMs: 0 }), streak));

  expect(delays).toEqual([0, 0, 1_000, 2_000, 4_000]);
});

test('a delay longer than the longest back-off is kept', () => {
  expect(restartDelayMs(policy({ delayMs: 3_600_000 }), 3)).toBe(3_600_000);
});

test('a task that was well for a minute has failed for the first time', () => {
  const shortly = planRestart(
    policy(),
    facts({ observed: 'failed', ranMs: 59_999, failureStreak: 3 }),
    NOW_MS,
  );
  const long = planRestart(policy(), facts({ observed: 'failed', ranMs: 60_000, failureStreak: 3 }), NOW_MS);

  expect(shortly).toMatchObject({ failureStreak: 4, startNotBeforeMs: NOW_MS + 40_000 });
  expect(long).toMatchObject({ failureStreak: 1, startNotBeforeMs: NOW_MS + 5_000 });
});

test('a task that completes has not failed', () => {
  expect(planRestart(policy(), facts({ observed: 'complete', ranMs: 10 }), NOW_MS)).toMatchObject({
    failureStreak: 0,
  });
});

test('no more restarts are made than the policy allows', () => {
  const twice = policy({ maxAttempts: 2 });

  expect(planRestart(twice, facts({ observed: 'failed', restartCount: 1 }), NOW_MS)).toMatchObject({
    restartCount: 2,
  });
  expect(planRestart(twice, facts({ observed: 'failed', restartCount: 2 }), NOW_MS)).toBeUndefined();
});

test('with a window only the restarts within it count', () => {
  const twicePerMinute = policy({ maxAttempts: 2, windowMs: 60_000 });
  const restarted = (...agoMs: number[]) =>
    facts({ observed: 'failed', restartCount: 9, restartsAtMs: agoMs.map((ago) => NOW_MS - ago) });

  expect(planRestart(twicePerMinute, restarted(50_000, 10_000), NOW_MS)).toBeUndefined();
  expect(planRestart(twicePerMinute, restarted(70_000, 10_000), NOW_MS)?.restartsAtMs).toEqual([
    NOW_MS - 10_000,
    NOW_MS,
  ]);
});
