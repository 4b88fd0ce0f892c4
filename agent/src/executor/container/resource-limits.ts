import { readFileSync } from 'node:fs';
import { invalid } from '@tessera/shared/errors';
import type { ContainerResources } from '@tessera/shared/model';
import type { GroupFeatures, GroupLimits } from './cgroups/index.js';
import { blockLimit } from './devices.js';

// What a container may use, as far as this host's kernel can hold it to that. Messages are Docker's.
// Source: moby, daemon/daemon_unix.go, verifyPlatformContainerResources.

const MEMORY_MIN = 6 << 20;
const PERIOD_MIN_US = 1_000;
const PERIOD_MAX_US = 1_000_000;

export interface Limits {
  readonly limits: GroupLimits;
  /** What was asked for and is left out. */
  readonly warnings: readonly string[];
}

/**
 * @param kernelMemoryTcpBytes 0: not limited
 * @throws ClusterError `invalidArgument` for what makes no sense, or none here
 */
export function resourceLimits(
  resources: ContainerResources,
  kernelMemoryTcpBytes: number,
  host: { readonly features: GroupFeatures; readonly cpus: number },
): Limits {
  const warnings: string[] = [];
  return {
    limits: {
      ...memoryLimits(resources, host.features, warnings),
      ...tcpLimit(kernelMemoryTcpBytes, host.features, warnings),
      ...cpuLimits(resources, host.cpus),
      ...cpusets(resources),
      ...(resources.pidsLimit > 0 ? { pids: resources.pidsLimit } : {}),
      ...blockLimits(resources, host.features, warnings),
    },
    warnings,
  };
}

const discarded = (what: string, name: string): string =>
  `Your kernel does not support ${what} capabilities or the cgroup is not mounted. ${name} discarded.`;

function memoryLimits(
  resources: ContainerResources,
  features: GroupFeatures,
  warnings: string[],
): GroupLimits {
  const { memoryBytes, memorySwapBytes, memorySwappiness, memoryReservationBytes } = resources;
  if (memoryBytes !== 0 && memoryBytes < MEMORY_MIN) throw invalid('Minimum memory limit allowed is 6MB');
  const asksForSwap = memoryBytes > 0 && memorySwapBytes !== -1;
  if (asksForSwap && !features.swapLimit)
    warnings.push(
      'Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.',
    );
  if (memorySwapBytes > 0 && memorySwapBytes < memoryBytes)
    throw invalid('Minimum memoryswap limit should be larger than memory limit, see usage');
  if (memorySwapBytes > 0 && memoryBytes === 0)
    throw invalid('You should always set the Memory limit when using Memoryswap limit, see usage');
  if (memorySwappiness > 100)
    throw invalid(`Invalid value: ${memorySwappiness}, valid memory swappiness range is 0-100`);
  const keepsSwappiness = memorySwappiness >= 0 && features.swappiness;
  if (memorySwappiness >= 0 && !features.swappiness)
    warnings.push(discarded('memory swappiness', 'Memory swappiness'));
  if (memoryReservationBytes > 0 && memoryReservationBytes < MEMORY_MIN)
    throw invalid('Minimum memory reservation allowed is 6MB');
  if (memoryBytes > 0 && memoryBytes < memoryReservationBytes)
    throw invalid('Minimum memory limit can not be less than memory reservation limit, see usage');
  if (resources.oomKillDisable && !features.oomKillDisable)
    warnings.push('Your kernel does not support OomKillDisable. OomKillDisable discarded.');
  const keepsOom = resources.oomKillDisable && features.oomKillDisable;
  if (keepsOom && memoryBytes === 0)
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  return {
    ...(memoryBytes ? { memoryBytes } : {}),
    ...(memorySwapBytes && features.swapLimit ? { memorySwapBytes } : {}),
    ...(keepsSwappiness ? { memorySwappiness } : {}),
    ...(memoryReservationBytes ? { memoryReservationBytes } : {}),
    ...(keepsOom ? { oomKillDisable: true } : {}),
  };
}

function tcpLimit(bytes: number, features: GroupFeatures, warnings: string[]): GroupLimits {
  if (bytes <= 0) return {};
  if (features.kernelMemoryTcp) return { kernelMemoryTcpBytes: bytes };
  warnings.push(discarded('kernel memory TCP limit', 'Limitation'));
  return {};
}

function cpuLimits(resources: ContainerResources, cpus: number): GroupLimits {
  const { nanoCpus, cpuShares, cpuQuotaUs, cpuPeriodUs } = resources;
  if (nanoCpus > 0 && cpuPeriodUs > 0)
    throw invalid('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  if (nanoCpus > 0 && cpuQuotaUs > 0)
    throw invalid('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  if (nanoCpus < 0 || nanoCpus > cpus * 1e9)
    throw invalid(`range of CPUs is from 0.01 to ${cpus}.00, as there are only ${cpus} CPUs available`);
  if (cpuPeriodUs !== 0 && (cpuPeriodUs < PERIOD_MIN_US || cpuPeriodUs > PERIOD_MAX_US))
    throw invalid('CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)');
  if (cpuQuotaUs > 0 && cpuQuotaUs < PERIOD_MIN_US)
    throw invalid('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  return {
    ...(nanoCpus ? { nanoCpus } : {}),
    ...(cpuShares ? { cpuShares } : {}),
    ...(cpuQuotaUs > 0 ? { cpuQuotaUs } : {}),
    ...(cpuPeriodUs > 0 ? { cpuPeriodUs } : {}),
  };
}

function cpusets({ cpusetCpus, cpusetMems }: ContainerResources): GroupLimits {
  assertAvailable(cpusetCpus, '/sys/devices/system/cpu/online', 'CPUs', 'cpus');
  assertAvailable(cpusetMems, '/sys/devices/system/node/online', 'memory nodes', 'mems');
  return { ...(cpusetCpus ? { cpusetCpus } : {}), ...(cpusetMems ? { cpusetMems } : {}) };
}

function assertAvailable(wanted: string, online: string, what: string, field: string): void {
  if (wanted === '') return;
  const numbers = parseList(wanted);
  if (!numbers) throw invalid(`Invalid value ${wanted} for cpuset ${field}`);
  let here: string;
  try {
    here = readFileSync(online, 'utf8').trim();
  } catch {
    return; // the kernel decides
  }
  const available = parseList(here);
  if (numbers.every((number) => available?.includes(number))) return;
  throw invalid(`Requested ${what} are not available - requested ${wanted}, available: ${here}`);
}

const NUMBER_MAX = 8_192;

/** `0-2,7`, as the kernel writes it; undefined: it is no such list. */
function parseList(text: string): number[] | undefined {
  const numbers: number[] = [];
  for (const part of text.split(',')) {
    const [, first = '', last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim()) ?? [];
    const [from, to] = [Number(first), Number(last)];
    if (first === '' || from > to || to > NUMBER_MAX) return undefined;
    for (let number = from; number <= to; number++) numbers.push(number);
  }
  return numbers;
}

function blockLimits(
  { blkioWeight, blkioLimits }: ContainerResources,
  features: GroupFeatures,
  warnings: string[],
): GroupLimits {
  const unsupported = (what: string, name: string) =>
    `Your kernel does not support Block I/O ${what} or the cgroup is not mounted. ${name} discarded.`;
  if (blkioWeight > 0 && features.blkioWeight && (blkioWeight < 10 || blkioWeight > 1_000))
    throw invalid('Range of blkio weight is from 10 to 1000');
  if (blkioWeight > 0 && !features.blkioWeight) warnings.push(unsupported('weight', 'Weight'));
  const isKept = ({ kind }: { readonly kind: string }) => kind !== 'weight' || features.blkioWeightDevice;
  if (!blkioLimits.every(isKept)) warnings.push(unsupported('weight_device', 'Weight-device'));
  const block = blkioLimits.filter(isKept).map(blockLimit);
  return {
    ...(blkioWeight && features.blkioWeight ? { blkioWeight } : {}),
    ...(block.length > 0 ? { block } : {}),
  };
}
