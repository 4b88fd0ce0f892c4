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
 * What this node offers: the host's CPUs, memory and pids, or less where the agent's own group is limited.
 */
export function readCapacity(readFile: (path: string) => string = readText): Resources {
  const groups = ownGroups(readFile('/proc/self/cgroup'));
  const v1 = (controller: string, file: string) =>
    numberIn(readFile, join(CGROUP_ROOT, controller, groups.get(controller) ?? '/', file));
  const v2 = (file: string) => readOr(readFile, join(CGROUP_ROOT, groups.get('') ?? '/', file));

  const [quota2, period2] = (v2('cpu.max') ?? 'max').split(' ');
  const quota = finite(quota2) ?? v1('cpu', 'cpu.cfs_quota_us');
  const period = finite(period2) ?? v1('cpu', 'cpu.cfs_period_us') ?? 100_000;
  const cpus = availableParallelism();
  const nanoCpus = quota !== undefined && quota > 0 ? Math.min(cpus, quota / period) * 1e9 : cpus * 1e9;

  const memoryLimit = finite(v2('memory.max')) ?? v1('memory', 'memory.limit_in_bytes');
  const pidsLimit = finite(v2('pids.max')) ?? v1('pids', 'pids.max');
  const pidMax = Number(readFile('/proc/sys/kernel/pid_max'));
  return {
    nanoCpus: Math.floor(nanoCpus),
    memoryBytes: Math.min(totalmem(), memoryLimit ?? Number.POSITIVE_INFINITY),
    pids: Math.min(pidMax, pidsLimit ?? Number.POSITIVE_INFINITY),
  };
}

/** Paths of this process's groups by controller; the v2 tree's is under the empty name. */
function ownGroups(text: string): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, ...path] = line.split(':');
    if (controllers === undefined) continue;
    for (const controller of controllers.split(',')) groups.set(controller, path.join(':'));
  }
  return groups;
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
