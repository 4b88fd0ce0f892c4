import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { clear, killGroup, SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import { MOUNT_ATTR } from '../mount-flags.js';
import { blockFilesV1 } from './block.js';
import type {
  CgroupDriver,
  DeviceRule,
  GroupFeatures,
  GroupLimits,
  GroupStats,
  GroupUsage,
} from './driver.js';
import type { CgroupLayout, Hierarchy } from './hierarchies.js';
import { parseBlkio } from './io.js';
import {
  bandwidth,
  counter,
  counters,
  file,
  fileOfLines,
  groupMount,
  READONLY_MOUNT,
  readProcesses,
  swapLimit,
  TICK_NS,
  writeFiles,
} from './values.js';

/** Each try is a look at every process of the group. */
const FREEZE_TRIES = 1_000;

/** cgroup v1 and hybrid: one hierarchy per controller. Source: Documentation/admin-guide/cgroup-v1. */
export class CgroupV1 implements CgroupDriver {
  readonly mode;
  readonly #hierarchies: readonly Hierarchy[];
  readonly #parent: string;

  /** @param parent path below each hierarchy's mount point, such as `/tessera` */
  constructor(layout: CgroupLayout, parent: string) {
    this.mode = layout.mode;
    this.#parent = parent;
    this.#hierarchies = layout.hierarchies.filter(({ version }) => version === 1);
  }

  async prepare(): Promise<void> {
    await Promise.all(
      this.#hierarchies.map(async (hierarchy) => {
        const parent = `${hierarchy.mountPoint}${this.#parent}`;
        await mkdir(parent, { recursive: true });
        if (hierarchy.controllers.includes('cpuset')) await this.#prepareCpuset(hierarchy);
        await mkdir(`${parent}/shims`, { recursive: true });
        await mkdir(`${parent}/containers`, { recursive: true });
      }),
    );
  }

  /** A cpuset without processors lets nobody in: from our parent down, new groups copy their parent's. */
  async #prepareCpuset({ mountPoint }: Hierarchy): Promise<void> {
    let above = mountPoint;
    for (const part of this.#parent.split('/').filter(Boolean)) {
      const path = `${above}/${part}`;
      for (const file of ['cpuset.cpus', 'cpuset.mems']) {
        const own = await readFile(`${path}/${file}`, 'utf8');
        if (own.trim() === '') await writeFile(`${path}/${file}`, await readFile(`${above}/${file}`, 'utf8'));
      }
      above = path;
    }
    await writeFile(`${above}/cgroup.clone_children`, '1');
  }

  records(limits: GroupLimits, devices: readonly DeviceRule[]): SpecRecord[] {
    const records: SpecRecord[] = [];
    for (const { mountPoint, controllers } of this.#hierarchies) {
      const parent = `${mountPoint}${this.#parent}`;
      records.push({ name: 'SHIM_GROUP', strings: [`${parent}/shims/tasks`] });
      const flags = isShared(controllers) && !limitsCpuset(limits) ? SPEC_FLAGS.GROUP_SHARED : 0;
      records.push({ name: 'GROUP', numbers: [flags], strings: [`${parent}/containers`, 'tasks'] });
      for (const controller of controllers) records.push(...files(controller, limits, parent));
      if (controllers.includes('devices')) records.push(...deviceFiles(devices));
      if (controllers.includes('memory')) records.push({ name: 'OOM_FILE', strings: ['memory.oom_control'] });
    }
    return records;
  }

  paths(containerId: string): string[] {
    return this.#hierarchies.map(
      ({ mountPoint }) => `${mountPoint}${this.#parent}/containers/${containerId}`,
    );
  }

  async kill(containerId: string): Promise<void> {
    await killGroup(
      this.#path('freezer', containerId) ?? this.#path('pids', containerId) ?? this.paths(containerId)[0]!,
    );
  }

  async freeze(containerId: string): Promise<void> {
    const path = `${this.#freezer(containerId)}/freezer.state`;
    await writeFile(path, 'FROZEN');
    // A process may be in the middle of something; reading makes the kernel look again.
    for (let tries = 0; (await readFile(path, 'utf8')).trim() !== 'FROZEN'; tries++) {
      if (tries < FREEZE_TRIES) continue;
      await writeFile(path, 'THAWED');
      throw new ClusterError('failedPrecondition', `container ${containerId} cannot be paused: try again`);
    }
  }

  async thaw(containerId: string): Promise<void> {
    await writeFile(`${this.#freezer(containerId)}/freezer.state`, 'THAWED');
  }

  async isFrozen(containerId: string): Promise<boolean> {
    const state = await readFile(`${this.#freezer(containerId)}/freezer.state`, 'utf8').catch(() => '');
    return state.trim() === 'FROZEN';
  }

  async update(containerId: string, limits: GroupLimits): Promise<void> {
    for (const { mountPoint, controllers } of this.#hierarchies) {
      const path = `${mountPoint}${this.#parent}/containers/${containerId}`;
      for (const controller of controllers) {
        if (controller === 'cpuset' && limitsCpuset(limits) && isShared(controllers))
          await this.#leaveSharedCpuset(containerId, path);
        const records = files(controller, limits, `${mountPoint}${this.#parent}`);
        // Memory alone never exceeds memory and swap together: which of them goes first depends on the direction.
        await writeFiles(path, records).catch(() => writeFiles(path, [...records].reverse()));
      }
    }
  }

  /** A container without limits of its own there shares a group with others: now it gets one. */
  async #leaveSharedCpuset(containerId: string, path: string): Promise<void> {
    await mkdir(path, { recursive: true });
    const processes = await readFile(`${this.#path('pids', containerId)}/cgroup.procs`, 'utf8');
    for (const pid of processes.split('\n').filter(Boolean))
      await writeFile(`${path}/cgroup.procs`, pid).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ESRCH') throw error; // ended meanwhile
      });
  }

  #freezer(containerId: string): string {
    const path = this.#path('freezer', containerId);
    if (path === undefined)
      throw new ClusterError(
        'failedPrecondition',
        'this node has no freezer cgroup: containers cannot be paused',
      );
    return path;
  }

  async usage(containerId: string): Promise<GroupUsage> {
    const read = async (controller: string, file: string) => {
      const path = this.#path(controller, containerId);
      return path === undefined ? '0' : readFile(`${path}/${file}`, 'utf8');
    };
    try {
      const [cpu, cpuStat, memory, memoryStat, limit, oom, pids] = await Promise.all([
        read('cpuacct', 'cpuacct.usage'),
        read('cpu', 'cpu.stat'),
        read('memory', 'memory.usage_in_bytes'),
        read('memory', 'memory.stat'),
        read('memory', 'memory.limit_in_bytes'),
        read('memory', 'memory.oom_control'),
        read('pids', 'pids.current'),
      ]);
      const memoryLimitBytes = Number(limit);
      return {
        cpuNanoSeconds: BigInt(cpu.trim()),
        throttledNanoSeconds: BigInt(counter(cpuStat, 'throttled_time')),
        memoryBytes: Number(memory),
        inactiveFileBytes: counter(memoryStat, 'total_inactive_file'),
        // No limit reads as the largest count of pages.
        ...(memoryLimitBytes < 2 ** 62 ? { memoryLimitBytes } : {}),
        pids: Number(pids),
        oomKills: counter(oom, 'oom_kill'),
      };
    } catch (error) {
      throw new ClusterError('notFound', `container ${containerId} has no cgroup`, { cause: error });
    }
  }

  async stats(containerId: string): Promise<GroupStats> {
    const read = (controller: string, file: string) =>
      readFile(`${this.#path(controller, containerId) ?? ''}/${file}`, 'utf8');
    const readIf = (controller: string, file: string) => read(controller, file).catch(() => '');
    try {
      const [total, times, cpu, usage, max, limit, failures, memory] = await Promise.all([
        read('cpuacct', 'cpuacct.usage'),
        read('cpuacct', 'cpuacct.stat'),
        readIf('cpu', 'cpu.stat'),
        read('memory', 'memory.usage_in_bytes'),
        read('memory', 'memory.max_usage_in_bytes'),
        read('memory', 'memory.limit_in_bytes'),
        read('memory', 'memory.failcnt'),
        read('memory', 'memory.stat'),
      ]);
      const [pids, pidsMax, bytes, operations] = await Promise.all([
        readIf('pids', 'pids.current'),
        readIf('pids', 'pids.max'),
        readIf('blkio', 'blkio.throttle.io_service_bytes_recursive'),
        readIf('blkio', 'blkio.throttle.io_serviced_recursive'),
      ]);
      return {
        cpu: {
          totalNs: Number(total),
          userNs: counter(times, 'user') * TICK_NS,
          systemNs: counter(times, 'system') * TICK_NS,
          periods: counter(cpu, 'nr_periods'),
          throttledPeriods: counter(cpu, 'nr_throttled'),
          throttledNs: counter(cpu, 'throttled_time'),
        },
        memory: {
          usageBytes: Number(usage),
          limitBytes: Math.min(Number(limit), totalmem()),
          maxUsageBytes: Number(max),
          failures: Number(failures),
          details: counters(memory),
        },
        pids: { current: Number(pids), limit: /^\d/.test(pidsMax) ? Number(pidsMax) : undefined },
        blockIo: parseBlkio(bytes, operations),
      };
    } catch (error) {
      throw new ClusterError('notFound', `container ${containerId} has no cgroup`, { cause: error });
    }
  }

  async processes(containerId: string): Promise<number[]> {
    const path = this.#path('freezer', containerId) ?? this.#path('pids', containerId)!;
    return readProcesses(path);
  }

  async list(): Promise<string[]> {
    const lists = await Promise.all(
      this.#hierarchies.map(({ mountPoint }) =>
        readdir(`${mountPoint}${this.#parent}/containers`, { withFileTypes: true }).catch(() => []),
      ),
    );
    return [...new Set(lists.flat().flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])))];
  }

  async removeParent(): Promise<void> {
    await clear(
      this.#hierarchies.map(({ mountPoint }) => `${mountPoint}${this.#parent}`),
      [],
    );
  }

  get features(): GroupFeatures {
    const has = (controller: string, ...names: string[]) => {
      const hierarchy = this.#hierarchies.find(({ controllers }) => controllers.includes(controller));
      const path = hierarchy && `${hierarchy.mountPoint}${this.#parent}/containers`;
      return path !== undefined && names.some((name) => existsSync(`${path}/${name}`));
    };
    return {
      swapLimit: has('memory', 'memory.memsw.limit_in_bytes'),
      swappiness: has('memory', 'memory.swappiness'),
      oomKillDisable: has('memory', 'memory.oom_control'),
      kernelMemoryTcp: has('memory', 'memory.kmem.tcp.limit_in_bytes'),
      blkioWeight: has('blkio', 'blkio.weight', 'blkio.bfq.weight'),
      blkioWeightDevice: has('blkio', 'blkio.weight_device', 'blkio.bfq.weight_device'),
    };
  }

  mounts(writable: boolean): SpecRecord[] {
    const top = '/sys/fs/cgroup';
    return [
      {
        name: 'MOUNT',
        numbers: [READONLY_MOUNT & ~MOUNT_ATTR.RDONLY, SPEC_FLAGS.MOUNT_SYSTEM],
        strings: [top, 'tmpfs', 'mode=755', 'size=64k'],
      },
      // Bound, not mounted anew: a mount of a hierarchy in a new cgroup namespace makes a whole superblock.
      ...this.#own().map(({ mountPoint, controllers }) =>
        groupMount(`${top}/${controllers.join(',')}`, `${mountPoint}${this.#parent}/containers`, writable),
      ),
      ...(writable ? [] : [{ name: 'READONLY', strings: [top] } as const]),
    ];
  }

  /** Those in which each container has a group of its own. */
  #own(): readonly Hierarchy[] {
    return this.#hierarchies.filter(({ controllers }) => !isShared(controllers));
  }

  #path(controller: string, containerId: string): string | undefined {
    const hierarchy = this.#hierarchies.find(({ controllers }) => controllers.includes(controller));
    return hierarchy && `${hierarchy.mountPoint}${this.#parent}/containers/${containerId}`;
  }
}

/** Few limit their cpuset: the others share a group, and each start is spared making one. */
const isShared = (controllers: readonly string[]): boolean => controllers.every((name) => name === 'cpuset');

const limitsCpuset = ({ cpusetCpus, cpusetMems }: GroupLimits): boolean =>
  cpusetCpus !== undefined || cpusetMems !== undefined;

function files(controller: string, limits: GroupLimits, parent: string): SpecRecord[] {
  const { cpuShares, memoryBytes, memorySwapBytes, memoryReservationBytes, memorySwappiness, pids } = limits;
  switch (controller) {
    case 'cpu': {
      const { periodUs, quotaUs } = bandwidth(limits) ?? {};
      return [
        ...(cpuShares ? [file('cpu.shares', cpuShares)] : []),
        ...(periodUs ? [file('cpu.cfs_period_us', periodUs)] : []),
        ...(quotaUs ? [file('cpu.cfs_quota_us', quotaUs)] : []),
      ];
    }
    case 'cpuset':
      return [
        ...(limits.cpusetCpus ? [file('cpuset.cpus', limits.cpusetCpus)] : []),
        ...(limits.cpusetMems ? [file('cpuset.mems', limits.cpusetMems)] : []),
      ];
    case 'memory': {
      // Memory and swap together; absent where the kernel does not account swap.
      const both = memorySwapBytes ?? (memoryBytes ? memoryBytes + swapLimit(memoryBytes) : undefined);
      return [
        ...(memoryBytes ? [file('memory.limit_in_bytes', memoryBytes)] : []),
        ...(both ? [file('memory.memsw.limit_in_bytes', both, memorySwapBytes === undefined)] : []),
        ...(memoryReservationBytes ? [file('memory.soft_limit_in_bytes', memoryReservationBytes)] : []),
        ...(memorySwappiness === undefined ? [] : [file('memory.swappiness', memorySwappiness)]),
        ...(limits.oomKillDisable ? [file('memory.oom_control', 1)] : []),
        ...(limits.kernelMemoryTcpBytes
          ? [file('memory.kmem.tcp.limit_in_bytes', limits.kernelMemoryTcpBytes)]
          : []),
      ];
    }
    case 'pids':
      return pids ? [file('pids.max', pids)] : [];
    case 'blkio':
      return blockFilesV1(limits, `${parent}/containers`);
    default:
      return [];
  }
}

/** An allow-list: first everything is denied. */
const deviceFiles = (devices: readonly DeviceRule[]): SpecRecord[] => [
  file('devices.deny', 'a'),
  fileOfLines('devices.allow', devices.map(deviceLine)),
];

const deviceLine = ({ type, major, minor, access }: DeviceRule): string =>
  type === 'a' ? 'a' : `${type} ${major ?? '*'}:${minor ?? '*'} ${access}`;
