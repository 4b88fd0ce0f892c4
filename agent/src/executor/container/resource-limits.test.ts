import { ContainerResources } from '@tessera/shared/model';
import { expect, test } from 'vitest';
import type { GroupFeatures } from './cgroups/index.js';
import { resourceLimits } from './resource-limits.js';

const ALL: GroupFeatures = {
  swapLimit: true,
  swappiness: true,
  oomKillDisable: true,
  kernelMemoryTcp: true,
  blkioWeight: true,
  blkioWeightDevice: true,
};
const NONE: GroupFeatures = {
  swapLimit: false,
  swappiness: false,
  oomKillDisable: false,
  kernelMemoryTcp: false,
  blkioWeight: false,
  blkioWeightDevice: false,
};
const MB = 1 << 20;

const limitsOf = (part: Partial<ContainerResources>, features = ALL, tcp = 0) =>
  resourceLimits(ContainerResources.create({ memorySwappiness: -1, ...part }), tcp, { features, cpus: 2 });

test('what the kernel cannot do is left out and told, in Docker’s words', () => {
  const asked = {
    memoryBytes: 64 * MB,
    memorySwapBytes: 128 * MB,
    memorySwappiness: 10,
    oomKillDisable: true,
    blkioWeight: 300,
  };
  expect(limitsOf(asked, ALL, MB)).toEqual({
    limits: { ...asked, kernelMemoryTcpBytes: MB },
    warnings: [],
  });
  const { limits, warnings } = limitsOf(asked, NONE, MB);
  expect(limits).toEqual({ memoryBytes: 64 * MB });
  expect(warnings).toEqual([
    'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    'Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness discarded.',
    'Your kernel does not support OomKillDisable. OomKillDisable discarded.',
    'Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.',
    'Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.',
  ]);
});

test('without a memory limit, doing without the OOM killer is warned of', () => {
  expect(limitsOf({ oomKillDisable: true }).warnings[0]).toContain('no memory limit is set');
});

test.each<[Partial<ContainerResources>, string]>([
  [{ memoryBytes: MB }, 'Minimum memory limit allowed is 6MB'],
  [{ memorySwapBytes: 64 * MB }, 'You should always set the Memory limit'],
  [{ memoryBytes: 64 * MB, memorySwapBytes: 32 * MB }, 'Minimum memoryswap limit should be larger'],
  [
    { memoryBytes: 64 * MB, memoryReservationBytes: 65 * MB },
    'can not be less than memory reservation limit',
  ],
  [{ memorySwappiness: 101 }, 'valid memory swappiness range is 0-100'],
  [{ nanoCpus: 1e9, cpuPeriodUs: 100_000 }, 'Nano CPUs and CPU Period cannot both be set'],
  [{ nanoCpus: 1e9, cpuQuotaUs: 100_000 }, 'Nano CPUs and CPU Quota cannot both be set'],
  [{ nanoCpus: 3e9 }, 'range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available'],
  [{ cpuPeriodUs: 10 }, 'CPU cfs period can not be less than 1ms'],
  [{ cpuQuotaUs: 10 }, 'CPU cfs quota can not be less than 1ms'],
  [{ blkioWeight: 5 }, 'Range of blkio weight is from 10 to 1000'],
  [{ cpusetCpus: '0-9000' }, 'Invalid value 0-9000 for cpuset cpus'],
  [{ cpusetCpus: '8191' }, 'Requested CPUs are not available - requested 8191, available: '],
])('%j is refused: %s', (part, message) => {
  expect(() => limitsOf(part)).toThrow(message);
});
