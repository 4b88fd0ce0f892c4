import type { ContainerStats } from '@tessera/shared/wire';
import type { KnownContainer } from '../../../controlapi/containers/index.js';
import { timeJson } from '../json-edge.js';

/** Counters as the docker CLI takes them apart. Source: moby api/types/container/stats.go. */
export function statsToDocker(one: KnownContainer, now: ContainerStats, before?: ContainerStats): object {
  return {
    ...names(one),
    read: timeJson(now.readAtMs),
    preread: timeJson(before?.readAtMs ?? 0),
    pids_stats: { current: now.pids, ...(now.pidsLimit > 0 ? { limit: now.pidsLimit } : {}) },
    blkio_stats: blkioToDocker(now),
    num_procs: 0,
    storage_stats: {},
    cpu_stats: cpuToDocker(now),
    precpu_stats: before ? cpuToDocker(before) : noCpu(),
    memory_stats: memoryToDocker(now),
    ...(now.networks.length > 0
      ? {
          networks: Object.fromEntries(
            now.networks.map((network) => [network.interface, networkToDocker(network)]),
          ),
        }
      : {}),
  };
}

/** What dockerd says of a container that does not run. */
export function emptyStats(one: KnownContainer): object {
  return {
    ...names(one),
    read: timeJson(0),
    preread: timeJson(0),
    pids_stats: {},
    blkio_stats: {
      io_service_bytes_recursive: null,
      io_serviced_recursive: null,
      io_queue_recursive: null,
      io_service_time_recursive: null,
      io_wait_time_recursive: null,
      io_merged_recursive: null,
      io_time_recursive: null,
      sectors_recursive: null,
    },
    num_procs: 0,
    storage_stats: {},
    cpu_stats: noCpu(),
    precpu_stats: noCpu(),
    memory_stats: {},
  };
}

const names = ({ container }: KnownContainer) => ({ name: `/${container.name}`, id: container.id });

const noCpu = () => ({
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
});

const cpuToDocker = (stats: ContainerStats) => ({
  cpu_usage: {
    total_usage: stats.cpuNanos,
    usage_in_kernelmode: stats.cpuSystemNanos,
    usage_in_usermode: stats.cpuUserNanos,
  },
  system_cpu_usage: stats.hostCpuNanos,
  online_cpus: stats.onlineCpus,
  throttling_data: {
    periods: stats.periods,
    throttled_periods: stats.throttledPeriods,
    throttled_time: stats.throttledNanos,
  },
});

const memoryToDocker = (stats: ContainerStats) => ({
  usage: stats.memoryBytes,
  ...(stats.memoryMaxBytes > 0 ? { max_usage: stats.memoryMaxBytes } : {}),
  stats: stats.memoryStat,
  limit: stats.memoryLimitBytes,
});

const networkToDocker = (network: ContainerStats['networks'][number]) => ({
  rx_bytes: network.rxBytes,
  rx_packets: network.rxPackets,
  rx_errors: network.rxErrors,
  rx_dropped: network.rxDropped,
  tx_bytes: network.txBytes,
  tx_packets: network.txPackets,
  tx_errors: network.txErrors,
  tx_dropped: network.txDropped,
});

function blkioToDocker({ blkio }: ContainerStats): object {
  const entries = (measure: (entry: ContainerStats['blkio'][number]) => number) =>
    blkio.map((entry) => ({
      major: entry.major,
      minor: entry.minor,
      op: entry.operation,
      value: measure(entry),
    }));
  return {
    io_service_bytes_recursive: entries(({ bytes }) => bytes),
    io_serviced_recursive: entries(({ operations }) => operations),
    io_queue_recursive: [],
    io_service_time_recursive: [],
    io_wait_time_recursive: [],
    io_merged_recursive: [],
    io_time_recursive: [],
    sectors_recursive: [],
  };
}
