import { ContainerStats } from '@tessera/shared/wire';
import { expect, test } from 'vitest';
import { statsFrame } from './stats-frame.js';

test('what the kernel counts in more digits than the wire has still travels', () => {
  const frame = statsFrame({
    atMs: 1_700_000_000_000.4,
    cpu: {
      totalNs: 1.5,
      userNs: 1,
      systemNs: 1,
      hostNs: 9e15,
      processors: 2,
      periods: 0,
      throttledPeriods: 0,
      throttledNs: 0,
    },
    memory: {
      usageBytes: 5,
      limitBytes: 2 ** 63,
      maxUsageBytes: 6,
      failures: 0,
      details: { hierarchical_memory_limit: 2 ** 62, cache: 3 },
    },
    pids: { current: 1, limit: undefined },
    blockIo: [{ major: 8, minor: 0, op: 'read', bytes: 10, operations: 1 }],
    networks: [
      {
        name: 'eth0',
        rxBytes: 1,
        rxPackets: 2,
        rxErrors: 3,
        rxDropped: 4,
        txBytes: 5,
        txPackets: 6,
        txErrors: 7,
        txDropped: 8,
      },
    ],
  });

  expect(ContainerStats.decode(ContainerStats.encode(frame).finish())).toMatchObject({
    readAtMs: 1_700_000_000_000,
    cpuNanos: 2,
    memoryLimitBytes: Number.MAX_SAFE_INTEGER,
    memoryStat: { hierarchical_memory_limit: Number.MAX_SAFE_INTEGER, cache: 3 },
    pidsLimit: 0,
    networks: [{ interface: 'eth0', rxBytes: 1, txDropped: 8 }],
    blkio: [{ operation: 'read', bytes: 10, operations: 1 }],
  });
});
