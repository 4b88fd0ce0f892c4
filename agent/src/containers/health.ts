import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { errorText, isCancelled } from '@tessera/shared/errors';
import { Health, type Healthcheck } from '@tessera/shared/model';
import { StartError } from '../executor/executor.js';
import type { RuntimeContainer } from './runtime.js';

// Whether a container does what it is there for, asked by a command of the user's. Source: moby, daemon/health.go.

const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 30_000;
const START_INTERVAL_MS = 5_000;
const RETRIES = 3;
const SIGKILL = 9;

/** A check with Docker's defaults filled in. */
export interface HealthPlan {
  readonly args: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  readonly retries: number;
}

/** Undefined where none is asked for, or the image's is switched off. */
export function healthPlan(check: Healthcheck | undefined): HealthPlan | undefined {
  const [kind, ...words] = check?.test ?? [];
  if (!check || kind === undefined || kind === 'NONE') return undefined;
  const args = kind === 'CMD' ? words : ['/bin/sh', '-c', words.join(' ')];
  if (args.length === 0) return undefined;
  return {
    args,
    intervalMs: check.intervalMs || INTERVAL_MS,
    timeoutMs: check.timeoutMs || TIMEOUT_MS,
    startPeriodMs: check.startPeriodMs,
    startIntervalMs: check.startIntervalMs || START_INTERVAL_MS,
    retries: check.retries || RETRIES,
  };
}

export const STARTING: Health = Health.create({ status: 'starting', failingStreak: 0 });

/** What a probe's outcome makes of it. Failures while it is still starting do not count, until it was well once. */
export function nextHealth(before: Health, isWell: boolean, ranForMs: number, plan: HealthPlan): Health {
  if (isWell) return { ...before, status: 'healthy', failingStreak: 0 };
  if (before.status === 'starting' && ranForMs < plan.startPeriodMs) return before;
  const failingStreak = before.failingStreak + 1;
  return { ...before, failingStreak, status: failingStreak >= plan.retries ? 'unhealthy' : before.status };
}

/** How long the next probe waits: less while it is starting. */
export const nextProbeMs = ({ status }: Health, ranForMs: number, plan: HealthPlan): number =>
  status === 'starting' && ranForMs < plan.startPeriodMs
    ? Math.min(plan.startIntervalMs, plan.intervalMs)
    : plan.intervalMs;

export interface HealthMonitorOptions {
  readonly runtime: RuntimeContainer;
  readonly plan: HealthPlan;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly startedAtMs: number;
  readonly health: () => Health;
  readonly onHealth: (health: Health) => void;
}

/** Probes a container until the signal is aborted, which its end or its agent's does. */
export async function monitorHealth(options: HealthMonitorOptions, signal: AbortSignal): Promise<void> {
  const { runtime, plan, clock, startedAtMs } = options;
  try {
    for (;;) {
      await delay(clock, nextProbeMs(options.health(), clock.now() - startedAtMs, plan), signal);
      // One that is paused says nothing, and is not to be blamed for it.
      if (runtime.life.kind !== 'running') continue;
      const probedAtMs = clock.now();
      const isWell = await probe(options, signal);
      signal.throwIfAborted();
      const before = options.health();
      const after = nextHealth(before, isWell, probedAtMs - startedAtMs, plan);
      if (after !== before) options.onHealth(after);
    }
  } catch (error) {
    if (!signal.aborted) options.logger.error({ error }, 'the health of a container is no longer watched');
  }
}

async function probe(
  { runtime, plan, clock, logger }: HealthMonitorOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  try {
    const exec = await runtime.createExec({
      args: plan.args,
      env: [],
      user: '',
      workingDir: '',
      privileged: false,
      tty: false,
      stdin: false,
    });
    await exec.start(undefined);
    const late = delay(clock, plan.timeoutMs, either).then(
      () => 'late' as const,
      () => 'late' as const,
    );
    const outcome = await Promise.race([exec.wait(signal), late]);
    if (outcome !== 'late') return outcome === 0;
    await exec.signal(SIGKILL);
    return false;
  } catch (error) {
    if (isCancelled(error) || signal.aborted) throw error;
    if (!(error instanceof StartError))
      logger.debug({ reason: errorText(error) }, 'a container could not be asked for its health');
    return false;
  } finally {
    over.abort();
  }
}
