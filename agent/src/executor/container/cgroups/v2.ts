import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { totalmem } from 'node:os';
import { clear, killGroup, SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import { blockFilesV2 } from './block.js';
import type {
  CgroupDriver,
  DeviceRule,
  GroupFeatures,
  GroupLimits,
  GroupStats,
  GroupUsage,
} from './driver.js';
import { parseIoStat } from './io.js';
import {
  bandwidth,
  counter,
  counters,
  file,
  groupMount,
  readProcesses,
  swapLimit,
  writeFiles,
} from './values.js';

/** Controllers we pass on to our groups, where the kernel and those above us give them. */
const CONTROLLERS = ['cpu', 'cpuset', 'io', 'memory', 'pids'];

/** Each try is a look at the group's state. */
const FREEZE_TRIES = 10_000;

/** cgroup v2: one tree. Source: Documentation/admin-guide/cgroup-v2.rst. */
export class CgroupV2 implements CgroupDriver {
  readonly mode = 'v2';
  readonly #mountPoint: string;
  readonly #root: string;

  /** @param parent path below the mount point, delegated to us, such as `/tessera` */
  constructor(mountPoint: string, parent: string) {
    this.#mountPoint = mountPoint;
    this.#root = `${mountPoint}${parent}`;
  }

  async prepare(): Promise<void> {
    let path = this.#mountPoint;
    for (const part of this.#root.slice(path.length).split('/').filter(Boolean)) {
      await enableControllers(path);
      path = `${path}/${part}`;
      await mkdir(path, { recursive: true });
    }
    await this.#moveOut();
    await enableControllers(this.#root);
    await mkdir(`${this.#root}/shims`, { recursive: true });
    await mkdir(`${this.#root}/containers`, { recursive: true });
    await enableControllers(`${this.#root}/containers`);
  }

  /** A group with groups below it may have no process of its own: if that is us, we move into `agent`. */
  async #moveOut(): Promise<void> {
    const own = await readFile(`${this.#root}/cgroup.procs`, 'utf8');
    if (!own.split('\n').includes(String(process.pid))) return;
    await mkdir(`${this.#root}/agent`, { recursive: true });
    await writeFile(`${this.#root}/agent/cgroup.procs`, String(process.pid));
  }

  records(limits: GroupLimits, devices: readonly DeviceRule[]): SpecRecord[] {
    return [
      { name: 'SHIM_GROUP', strings: [`${this.#root}/shims/cgroup.procs`] },
      {
        name: 'GROUP',
        numbers: [SPEC_FLAGS.GROUP_CLONE_INTO],
        strings: [`${this.#root}/containers`, 'cgroup.procs'],
      },
      ...files(limits, this.#root),
      { name: 'OOM_FILE', strings: ['memory.events'] },
      ...devices.map(deviceRecord),
    ];
  }

  paths(containerId: string): string[] {
    return [this.#path(containerId)];
  }

  async kill(containerId: string): Promise<void> {
    await killGroup(this.#path(containerId));
  }

  async freeze(containerId: string): Promise<void> {
    await writeFile(`${this.#path(containerId)}/cgroup.freeze`, '1');
    for (let tries = 0; !(await this.isFrozen(containerId)); tries++) {
      if (tries < FREEZE_TRIES) continue;
      await this.thaw(containerId);
      throw new ClusterError('failedPrecondition', `container ${containerId} cannot be paused: try again`);
    }
  }

  async thaw(containerId: string): Promise<void> {
    await writeFile(`${this.#path(containerId)}/cgroup.freeze`, '0');
  }

  async isFrozen(containerId: string): Promise<boolean> {
    const events = await readFile(`${this.#path(containerId)}/cgroup.events`, 'utf8').catch(() => '');
    return counter(events, 'frozen') === 1;
  }

  async update(containerId: string, limits: GroupLimits): Promise<void> {
    await writeFiles(this.#path(containerId), files(limits, this.#root));
  }

  async usage(containerId: string): Promise<GroupUsage> {
    const read = (file: string) => readFile(`${this.#path(containerId)}/${file}`, 'utf8');
    // A controller that was not passed on to us has no files.
    const readIf = (file: string) => read(file).catch(() => '0');
    try {
      const [cpu, memory, memoryStat, limit, events, pids] = await Promise.all([
        read('cpu.stat'),
        readIf('memory.current'),
        readIf('memory.stat'),
        readIf('memory.max'),
        readIf('memory.events'),
        readIf('pids.current'),
      ]);
      return {
        cpuNanoSeconds: BigInt(counter(cpu, 'usage_usec')) * 1000n,
        throttledNanoSeconds: BigInt(counter(cpu, 'throttled_usec')) * 1000n,
        memoryBytes: Number(memory),
        inactiveFileBytes: counter(memoryStat, 'inactive_file'),
        ...(/^[1-9]/.test(limit) ? { memoryLimitBytes: Number(limit) } : {}),
        pids: Number(pids),
        oomKills: counter(events, 'oom_kill'),
      };
    } catch (error) {
      throw new ClusterError('notFound', `container ${containerId} has no cgroup`, { cause: error });
    }
  }

  async stats(containerId: string): Promise<GroupStats> {
    const read = (file: string) => readFile(`${this.#path(containerId)}/${file}`, 'utf8');
    const readIf = (file: string) => read(file).catch(() => '');
    try {
      const [cpu, usage, max, limit, events, memory, pids, pidsMax, io] = await Promise.all([
        read('cpu.stat'),
        readIf('memory.current'),
        readIf('memory.peak'),
        readIf('memory.max'),
        readIf('memory.events'),
        readIf('memory.stat'),
        readIf('pids.current'),
        readIf('pids.max'),
        readIf('io.stat'),
      ]);
      return {
        cpu: {
          totalNs: counter(cpu, 'usage_usec') * 1000,
          userNs: counter(cpu, 'user_usec') * 1000,
          systemNs: counter(cpu, 'system_usec') * 1000,
          periods: counter(cpu, 'nr_periods'),
          throttledPeriods: counter(cpu, 'nr_throttled'),
          throttledNs: counter(cpu, 'throttled_usec') * 1000,
        },
        memory: {
          usageBytes: Number(usage),
          limitBytes: /^\d/.test(limit) ? Math.min(Number(limit), totalmem()) : totalmem(),
          maxUsageBytes: Number(max),
          failures: counter(events, 'max'),
          details: counters(memory),
        },
        pids: { current: Number(pids), limit: /^\d/.test(pidsMax) ? Number(pidsMax) : undefined },
        blockIo: parseIoStat(io),
      };
    } catch (error) {
      throw new ClusterError('notFound', `container ${containerId} has no cgroup`, { cause: error });
    }
  }

  processes(containerId: string): Promise<number[]> {
    return readProcesses(this.#path(containerId));
  }

  async list(): Promise<string[]> {
    const entries = await readdir(`${this.#root}/containers`, { withFileTypes: true }).catch(() => []);
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  }

  async removeParent(): Promise<void> {
    await clear([this.#root], []);
  }

  get features(): GroupFeatures {
    const has = (...names: string[]) => names.some((name) => existsSync(`${this.#root}/containers/${name}`));
    const weight = has('io.bfq.weight', 'io.weight');
    return {
      swapLimit: has('memory.swap.max'),
      swappiness: false,
      oomKillDisable: false,
      kernelMemoryTcp: false,
      blkioWeight: weight,
      blkioWeightDevice: weight,
    };
  }

  mounts(writable: boolean): SpecRecord[] {
    return [groupMount('/sys/fs/cgroup', `${this.#root}/containers`, writable)];
  }

  #path(containerId: string): string {
    return `${this.#root}/containers/${containerId}`;
  }
}

/** Passes on to the groups below what is there to pass on. */
async function enableControllers(path: string): Promise<void> {
  const available = (await readFile(`${path}/cgroup.controllers`, 'utf8')).trim().split(' ');
  const enabled = (await readFile(`${path}/cgroup.subtree_control`, 'utf8')).trim().split(' ');
  const missing = CONTROLLERS.filter((name) => available.includes(name) && !enabled.includes(name));
  if (missing.length === 0) return;
  try {
    await writeFile(`${path}/cgroup.subtree_control`, missing.map((name) => `+${name}`).join(' '));
  } catch (error) {
    throw new ClusterError('failedPrecondition', `cgroup ${path} cannot pass on ${missing.join(', ')}`, {
      cause: error,
    });
  }
}

function files(limits: GroupLimits, root: string): SpecRecord[] {
  const { cpuShares, memoryBytes, memorySwapBytes, memoryReservationBytes, pids } = limits;
  const { quotaUs, periodUs } = bandwidth(limits) ?? {};
  // v2 counts swap by itself.
  const swap =
    memorySwapBytes === undefined
      ? memoryBytes && swapLimit(memoryBytes)
      : memorySwapBytes < 0
        ? 'max'
        : memorySwapBytes - (memoryBytes ?? 0);
  return [
    ...(cpuShares ? [file('cpu.weight', weight(cpuShares))] : []),
    ...(periodUs ? [file('cpu.max', `${quotaUs ?? 'max'} ${periodUs}`)] : []),
    ...(limits.cpusetCpus ? [file('cpuset.cpus', limits.cpusetCpus)] : []),
    ...(limits.cpusetMems ? [file('cpuset.mems', limits.cpusetMems)] : []),
    ...(memoryBytes ? [file('memory.max', memoryBytes)] : []),
    ...(swap === undefined ? [] : [file('memory.swap.max', swap, memorySwapBytes === undefined)]),
    ...(memoryReservationBytes ? [file('memory.low', memoryReservationBytes)] : []),
    ...(pids ? [file('pids.max', pids)] : []),
    ...blockFilesV2(limits, `${root}/containers`),
  ];
}

/** From v1's shares, 2 to 262144, to v2's weight, 1 to 10000. Source: runc, ConvertCPUSharesToCgroupV2Value. */
const weight = (shares: number): number =>
  Math.min(10_000, Math.max(1, 1 + Math.floor(((shares - 2) * 9_999) / 262_142)));

const ACCESS = { m: 1, r: 2, w: 4 };

/** BPF_DEVCG_ACC_* bits; -1 is any number, type 0 any type. */
function deviceRecord({ type, major, minor, access }: DeviceRule): SpecRecord {
  const bits = [...access].reduce((sum, letter) => sum | (ACCESS[letter as keyof typeof ACCESS] ?? 0), 0);
  return {
    name: 'DEVICE_RULE',
    numbers: [type === 'a' ? 0 : type.charCodeAt(0), major ?? -1, minor ?? -1, type === 'a' ? 7 : bits],
  };
}
