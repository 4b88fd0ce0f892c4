import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { errorText, isCancelled } from '@tessera/shared/errors';
import { Health, type Healthcheck, Probe } from '@tessera/shared/model';
import type { AttachedClient } from '../executor/attachment.js';
import { StartError } from '../executor/executor.js';
import type { RuntimeContainer } from './runtime.js';

// Whether a container does what it is there for, asked by a command of the user's. Source: moby, daemon/health.go.

const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 30_000;
const START_INTERVAL_MS = 5_000;
const RETRIES = 3;
const SIGKILL = 9;
const DEFAULT_SHELL = ['/bin/sh', '-c'];
/** Probes that are remembered, and bytes of what each one wrote. */
const LOG_LENGTH = 5;
const OUTPUT_MAX = 4_096;
/** Of a probe that could not be run, or not to its end. */
const UNKNOWN_CODE = -1;

/** A check with Docker's defaults filled in. */
export interface HealthPlan {
  readonly args: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  readonly startIntervalMs: number;
  readonly retries: number;
}

/**
 * Undefined where none is asked for, the image's is switched off, or it is of a kind that nobody knows.
 *
 * @param shell for what is given as CMD-SHELL; an image's own is for builds, as with Docker
 */
export function healthPlan(
  check: Healthcheck | undefined,
  shell: readonly string[] = [],
): HealthPlan | undefined {
  const [kind = '', ...words] = check?.test ?? [];
  if (!check || words.length === 0) return undefined;
  if (kind !== 'CMD' && kind !== 'CMD-SHELL') return undefined;
  const args = kind === 'CMD' ? words : [...(shell.length > 0 ? shell : DEFAULT_SHELL), ...words];
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
export function nextHealth(before: Health, probe: Probe, ranForMs: number, plan: HealthPlan): Health {
  const log = [...before.log, probe].slice(-LOG_LENGTH);
  if (probe.exitCode === 0) return { ...before, log, status: 'healthy', failingStreak: 0 };
  if (before.status === 'starting' && ranForMs < plan.startPeriodMs) return { ...before, log };
  const failingStreak = before.failingStreak + 1;
  const status = failingStreak >= plan.retries ? 'unhealthy' : before.status;
  return { ...before, log, failingStreak, status };
}

/** How long the next probe waits: less while it is starting. */
export const nextProbeMs = ({ status }: Health, ranForMs: number, plan: HealthPlan): number =>
  status === 'starting' && ranForMs < plan.startPeriodMs
    ? Math.min(plan.startIntervalMs, plan.intervalMs)
    : plan.intervalMs;

/** The container that is asked. */
export interface Probed extends Pick<RuntimeContainer, 'createExec'> {
  readonly life: { readonly kind: string };
}

export interface HealthMonitorOptions {
  readonly runtime: Probed;
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
      const outcome = await probe(options, signal);
      signal.throwIfAborted();
      const one = Probe.create({ startedAtMs: probedAtMs, endedAtMs: clock.now(), ...outcome });
      options.onHealth(nextHealth(options.health(), one, probedAtMs - startedAtMs, plan));
    }
  } catch (error) {
    if (!signal.aborted) options.logger.error({ error }, 'the health of a container is no longer watched');
  }
}

type Outcome = Pick<Probe, 'exitCode' | 'output'>;

async function probe(options: HealthMonitorOptions, signal: AbortSignal): Promise<Outcome> {
  const { runtime, plan, clock, logger } = options;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const output = new BoundedOutput();
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
    const client = await exec.start({ stdout: true, stderr: true });
    const read = client ? output.read(client) : Promise.resolve();
    const late = delay(clock, plan.timeoutMs, either).then(
      () => 'late' as const,
      () => 'late' as const,
    );
    // All that it wrote before its end; what it left running may hold its output open for longer.
    const exit = exec.wait(signal).then(async (code) => {
      await Promise.race([read, late]);
      return code;
    });
    const outcome = await Promise.race([exit, late]);
    client?.close();
    signal.throwIfAborted();
    if (outcome !== 'late') return { exitCode: outcome, output: output.text() };
    await exec.signal(SIGKILL);
    const text = output.text();
    return { exitCode: UNKNOWN_CODE, output: exceeded(plan.timeoutMs) + (text ? `: ${text}` : '') };
  } catch (error) {
    if (isCancelled(error) || signal.aborted) throw error;
    if (error instanceof StartError) return { exitCode: error.exitCode, output: errorText(error) };
    logger.debug({ reason: errorText(error) }, 'a container could not be asked for its health');
    return { exitCode: UNKNOWN_CODE, output: errorText(error) };
  } finally {
    over.abort();
  }
}

/** Docker's words; the time as Go writes durations of so many milliseconds. */
const exceeded = (ms: number): string => `Health check exceeded timeout (${goDuration(ms)})`;

function goDuration(ms: number): string {
  if (ms < 1_000) return `${ms}ms`;
  const [hours, minutes] = [Math.floor(ms / 3_600_000), Math.floor(ms / 60_000) % 60];
  const seconds = `${(ms % 60_000) / 1_000}s`;
  return `${hours > 0 ? `${hours}h` : ''}${ms >= 60_000 ? `${minutes}m` : ''}${seconds}`;
}

/** The beginning of what a probe writes. */
class BoundedOutput {
  readonly #kept: Buffer[] = [];
  #size = 0;
  #isCut = false;

  /** Resolves with the end of the stream, also one that broke. */
  async read(client: AttachedClient): Promise<void> {
    try {
      for await (const { bytes } of client) this.#add(Buffer.from(bytes));
    } catch {
      // What has come counts.
    }
  }

  #add(bytes: Buffer): void {
    const room = OUTPUT_MAX - this.#size;
    if (room > 0) this.#kept.push(bytes.subarray(0, room));
    this.#size = Math.min(OUTPUT_MAX, this.#size + bytes.length);
    this.#isCut ||= bytes.length > room;
  }

  text(): string {
    return Buffer.concat(this.#kept).toString('utf8') + (this.#isCut ? '...' : '');
  }
}
