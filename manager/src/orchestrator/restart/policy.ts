import type { RestartPolicy, Task } from '@tessera/shared/model';
import { ranForMs, type TaskFacts } from '../slots.js';

/** What a task carries of the restarts before it, so that any leader goes on with the same back-off. */
export type RestartRecord = Pick<
  Task,
  'startNotBeforeMs' | 'restartCount' | 'restartsAtMs' | 'failureStreak'
>;

export const NO_RESTARTS: RestartRecord = {
  startNotBeforeMs: 0,
  restartCount: 0,
  restartsAtMs: [],
  failureStreak: 0,
};

/** Docker's default. */
const DELAY_DEFAULT_MS = 5_000;
/** No crash loop waits longer than this, unless its own policy says so. */
const DELAY_MAX_MS = 5 * 60_000;
/** The first step of a back-off whose policy asks for no delay at all. */
const BACKOFF_STEP_MS = 1_000;
/** A task that ran this long was well: the next failure counts as the first one. */
const STABLE_MS = 60_000;

/**
 * Whether a task that has ended is replaced, and what its replacement carries; undefined when the policy
 * says that it stays ended.
 *
 * The first failure waits for the policy's delay; each one after it, in a row, twice as long as the last.
 *
 * Source: swarmkit manager/orchestrator/restart (condition, attempts, window); the growing delay is ours.
 */
export function planRestart(
  policy: RestartPolicy | undefined,
  ended: TaskFacts,
  nowMs: number,
): RestartRecord | undefined {
  if (!allowsRestart(policy, ended)) return undefined;

  const { task } = ended;
  const windowMs = policy?.windowMs ?? 0;
  const inWindow = windowMs > 0 ? task.restartsAtMs.filter((atMs) => atMs > nowMs - windowMs) : [];
  const attemptsMax = policy?.maxAttempts ?? 0;
  const attempts = windowMs > 0 ? inWindow.length : task.restartCount;
  if (attemptsMax > 0 && attempts >= attemptsMax) return undefined;

  const hasFailed = ended.observed === 'failed' || ended.observed === 'rejected';
  const failureStreak = !hasFailed ? 0 : ranForMs(ended) >= STABLE_MS ? 1 : task.failureStreak + 1;
  return {
    startNotBeforeMs: nowMs + restartDelayMs(policy, failureStreak),
    restartCount: task.restartCount + 1,
    // Without a bound on attempts nobody will ask for them.
    restartsAtMs: windowMs > 0 && attemptsMax > 0 ? [...inWindow, nowMs] : [],
    failureStreak,
  };
}

/** What the condition says of a task that has ended, or whose node cannot run it any more. */
export function allowsRestart(policy: RestartPolicy | undefined, { observed }: TaskFacts): boolean {
  switch (policy?.condition ?? 'any') {
    case 'none':
      return false;
    case 'on_failure':
      return observed !== 'complete';
    default:
      return true;
  }
}

/** @param failureStreak failures in a row, the last one included; 0 after a task that ended well */
export function restartDelayMs(policy: RestartPolicy | undefined, failureStreak: number): number {
  const delayMs = policy ? policy.delayMs : DELAY_DEFAULT_MS;
  if (failureStreak <= 1) return delayMs;
  const stepMs = Math.max(delayMs, BACKOFF_STEP_MS);
  // 2^20 steps are past any bound, and far from where numbers lose precision.
  const doublings = Math.min(failureStreak - 1, 20);
  const backoffMs = delayMs === 0 ? stepMs * 2 ** (doublings - 1) : stepMs * 2 ** doublings;
  return Math.max(delayMs, Math.min(backoffMs, DELAY_MAX_MS));
}
