import { silentLogger } from '@tessera/shared/env';
import { type Health, Healthcheck, Probe } from '@tessera/shared/model';
import { FakeClock, settle } from '@tessera/shared/testing';
import type { ContainerAssignment } from '@tessera/shared/wire';
import { expect, test } from 'vitest';
import { healthPlan, monitorHealth, nextHealth, nextProbeMs, STARTING } from './health.js';
import { FakeRuntime } from './testing/index.js';

const probeOf = (exitCode: number) => Probe.create({ exitCode });
const [WELL, ILL] = [probeOf(0), probeOf(1)];
const check = (part: Partial<Healthcheck>) => Healthcheck.create({ test: ['CMD', 'probe'], ...part });

test('a check is a command or a line for the shell, with Docker’s defaults; NONE is none', () => {
  expect(healthPlan(undefined)).toBeUndefined();
  expect(healthPlan(check({ test: ['NONE'] }))).toBeUndefined();
  expect(healthPlan(check({ test: [] }))).toBeUndefined();
  expect(healthPlan(check({}))).toEqual({
    args: ['probe'],
    intervalMs: 30_000,
    timeoutMs: 30_000,
    startPeriodMs: 0,
    startIntervalMs: 5_000,
    retries: 3,
  });
  expect(healthPlan(check({ test: ['CMD-SHELL', 'a && b'] }))?.args).toEqual(['/bin/sh', '-c', 'a && b']);
  expect(healthPlan(check({ test: ['CMD-SHELL', 'a', 'b'] }))?.args).toEqual(['/bin/sh', '-c', 'a', 'b']);
  expect(healthPlan(check({ test: ['CMD-SHELL'] }))).toBeUndefined();
  expect(healthPlan(check({ test: ['SHELL', 'a'] }))).toBeUndefined();
  const shell = ['/bin/ash', '-ec'];
  expect(healthPlan(check({ test: ['CMD-SHELL', 'a'] }), shell)?.args).toEqual(['/bin/ash', '-ec', 'a']);
  expect(healthPlan(check({ test: ['CMD', 'a'] }), shell)?.args).toEqual(['a']);
});

test('it is unhealthy after so many failures in a row; while it starts, none count until it was well', () => {
  const plan = healthPlan(check({ startPeriodMs: 10_000, retries: 2, intervalMs: 20_000 }))!;
  expect(nextHealth(STARTING, ILL, 9_999, plan)).toMatchObject({ status: 'starting', failingStreak: 0 });
  const once = nextHealth(STARTING, ILL, 10_000, plan);
  expect(once).toMatchObject({ status: 'starting', failingStreak: 1 });
  expect(nextHealth(once, ILL, 20_000, plan)).toMatchObject({ status: 'unhealthy', failingStreak: 2 });
  const well = nextHealth(once, WELL, 20_000, plan);
  expect(well).toMatchObject({ status: 'healthy', failingStreak: 0 });
  // It was well once: its start is over, however short it was.
  const early = nextHealth(nextHealth(STARTING, WELL, 1, plan), ILL, 2, plan);
  expect(early).toMatchObject({ status: 'healthy', failingStreak: 1 });
  expect(nextProbeMs(STARTING, 0, plan)).toBe(5_000);
  expect(nextProbeMs(STARTING, 10_000, plan)).toBe(20_000);
  expect(nextProbeMs(well, 0, plan)).toBe(20_000);
});

test('the last five probes are remembered', () => {
  const plan = healthPlan(check({}))!;
  const codes = [3, 4, 5, 6, 0, 7];
  const health = codes.reduce((before, code) => nextHealth(before, probeOf(code), 0, plan), STARTING);
  expect(health.log.map(({ exitCode }) => exitCode)).toEqual([4, 5, 6, 0, 7]);
});

test('probes come one after the other, each with its time; one that hangs is killed and counts as failed', async () => {
  const clock = new FakeClock();
  const container = new FakeRuntime(clock).container('c1');
  const { signal } = new AbortController();
  await container.create({} as ContainerAssignment, signal);
  await container.start({} as ContainerAssignment, signal);
  let health: Health = STARTING;
  const seen: string[] = [];
  const stop = new AbortController();
  const done = monitorHealth(
    {
      runtime: container,
      plan: healthPlan(check({ intervalMs: 10_000, timeoutMs: 3_000, retries: 2 }))!,
      clock,
      logger: silentLogger,
      startedAtMs: clock.now(),
      health: () => health,
      onHealth: (next) => {
        health = next;
        seen.push(`${next.status} ${next.failingStreak}`);
      },
    },
    stop.signal,
  );
  const probe = () => container.execs().at(-1)!;
  await clock.advanceAsync(9_999);
  expect(container.execs()).toHaveLength(0);
  await clock.advanceAsync(1);
  probe().exit(0);
  await settle();
  expect(seen).toEqual(['healthy 0']);

  await clock.advanceAsync(10_000);
  await clock.advanceAsync(2_999);
  expect(seen).toHaveLength(1);
  await clock.advanceAsync(1);
  expect(seen.at(-1)).toBe('healthy 1');
  await clock.advanceAsync(10_000);
  probe().exit(1);
  await settle();
  expect(seen.at(-1)).toBe('unhealthy 2');

  await container.pause();
  await clock.advanceAsync(60_000);
  expect(seen).toHaveLength(3);
  stop.abort();
  await done;
});
