import { ContainerStats } from '@tessera/shared/wire';
import type { ContainerStats as Counters } from '../executor/live-container.js';

/** As the wire takes it: whole, and exact. What has no limit reads as more than that. */
const count = (value: number): number => Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.round(value)));

const counts = <T extends Record<string, unknown>>(values: T): T =>
  Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, typeof value === 'number' ? count(value) : value]),
  ) as T;

/** A container's counters as they travel. */
export const statsFrame = ({ atMs, cpu, memory, pids, blockIo, networks }: Counters): ContainerStats =>
  ContainerStats.fromPartial({
    ...counts({
      readAtMs: atMs,
      cpuNanos: cpu.totalNs,
      cpuUserNanos: cpu.userNs,
      cpuSystemNanos: cpu.systemNs,
      hostCpuNanos: cpu.hostNs,
      onlineCpus: cpu.processors,
      throttledPeriods: cpu.throttledPeriods,
      periods: cpu.periods,
      throttledNanos: cpu.throttledNs,
      memoryBytes: memory.usageBytes,
      memoryMaxBytes: memory.maxUsageBytes,
      memoryLimitBytes: memory.limitBytes,
      pids: pids.current,
      pidsLimit: pids.limit ?? 0,
    }),
    memoryStat: counts(memory.details),
    networks: networks.map(({ name, ...counters }) => ({ interface: name, ...counts(counters) })),
    blkio: blockIo.map(({ op, ...counters }) => ({ operation: op, ...counts(counters) })),
  } as never);
