import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { join } from 'node:path';
import { invalid } from '@tessera/shared/errors';
import type { Resources } from '@tessera/shared/model';

const CGROUP_ROOT = '/sys/fs/cgroup';

/** How this host's cgroups are laid out. "hybrid": v1 controllers beside an empty v2 tree. */
export type CgroupMode = 'v1' | 'v2' | 'hybrid';

/** @param mountInfo content of /proc/self/mountinfo (proc(5)) */
export function cgroupModeOf(mountInfo: string): CgroupMode {
  const types = new Set(
    mountInfo.split('\n').flatMap((line) => {
      const [before, after] = line.split(' - ');
      const type = after?.split(' ')[0];
      const mountPoint = before?.split(' ')[4];
      return mountPoint?.startsWith(CGROUP_ROOT) && type?.startsWith('cgroup') ? [type] : [];
    }),
  );
  if (types.has('cgroup')) return types.has('cgroup2') ? 'hybrid' : 'v1';
  return 'v2';
}

/**
 * What this node offers: the host's CPUs, memory and pids, or less where the group that containers lie in, or one
 * above it, is limited. Within a container the topmost group is the container's own, so its limits count too.
 *
 * @param parent of the containers' groups, below each mount point: `/tessera`
 */
export function readCapacity(parent: string, readFile: (path: string) => string = readText): Resources {
  const parts = parent.split('/').filter(Boolean);
  const groups = ['', ...parts.map((_, index) => parts.slice(0, index + 1).join('/'))];
  /** The least of a file's values from the top down; v2's file, else v1's. */
  const least = (controller: string, v2: string, v1: string, parse: (text: string) => number | undefined) =>
    Math.min(
      ...groups.flatMap((group) => {
        const text =
          readOr(readFile, join(CGROUP_ROOT, group, v2)) ??
          readOr(readFile, join(CGROUP_ROOT, controller, group, v1));
        const value = text === undefined ? undefined : parse(text);
        return value === undefined || value <= 0 ? [] : [value];
      }),
      Number.POSITIVE_INFINITY,
    );
  const quota1 = groups.flatMap((group) => {
    const path = join(CGROUP_ROOT, 'cpu', group);
    const quota = numberIn(readFile, join(path, 'cpu.cfs_quota_us'));
    const period = numberIn(readFile, join(path, 'cpu.cfs_period_us')) ?? 100_000;
    return quota === undefined || quota <= 0 ? [] : [quota / period];
  });
  const quota2 = least('cpu', 'cpu.max', '', (text) => {
    const [quota, period] = text.split(' ');
    return finite(quota) === undefined ? undefined : finite(quota)! / (finite(period) ?? 100_000);
  });
  const allowed = least('cpuset', 'cpuset.cpus.effective', 'cpuset.effective_cpus', countIn);
  const cpus = Math.min(availableParallelism(), allowed, quota2, ...quota1);
  const pidMax = Number(readFile('/proc/sys/kernel/pid_max'));
  return {
    nanoCpus: Math.floor(cpus * 1e9),
    memoryBytes: Math.min(totalmem(), least('memory', 'memory.max', 'memory.limit_in_bytes', finite)),
    pids: Math.min(pidMax, least('pids', 'pids.max', 'pids.max', finite)),
  };
}

/** How many a list such as `0-3,8` names. */
function countIn(list: string): number {
  return list
    .split(',')
    .filter(Boolean)
    .reduce((sum, part) => {
      const [first, last] = part.split('-').map(Number);
      return sum + (last ?? first!) - first! + 1;
    }, 0);
}

const readText = (path: string): string => readFileSync(path, 'utf8').trim();

/** A file that is not there belongs to a controller that is not. */
function readOr(readFile: (path: string) => string, path: string): string | undefined {
  try {
    return readFile(path);
  } catch {
    return undefined;
  }
}

const numberIn = (readFile: (path: string) => string, path: string): number | undefined =>
  finite(readOr(readFile, path));

/** "max" and absent mean no limit. */
function finite(text: string | undefined): number | undefined {
  const number = Number(text);
  return text === undefined || text === '' || !Number.isFinite(number) ? undefined : number;
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
};

/**
 * What `--capacity` says, over what was read.
 *
 * @param text such as `cpus=2,memory=4G,pids=1000`; parts left out keep what was read
 * @throws ClusterError `invalidArgument`
 */
export function parseCapacity(text: string, read: Resources): Resources {
  let { nanoCpus, memoryBytes, pids } = read;
  for (const part of text.split(',').filter(Boolean)) {
    const match = /^(cpus|memory|pids)=(\d+(?:\.\d+)?)([bkmgt]?)i?b?$/i.exec(part.trim());
    const [, name, digits, unit] = match ?? [];
    const number = Number(digits);
    if (!name || !(number > 0) || (unit && name.toLowerCase() !== 'memory'))
      throw invalid(`invalid --capacity "${part}": use cpus=2, memory=4G or pids=1000, separated by commas`);
    if (name === 'cpus') nanoCpus = Math.round(number * 1e9);
    else if (name === 'memory') memoryBytes = Math.floor(number * UNITS[unit!.toLowerCase()]!);
    else pids = Math.floor(number);
  }
  return { nanoCpus, memoryBytes, pids };
}
