import { readFile } from 'node:fs/promises';
import { ClusterError } from '@tessera/shared/errors';

/** One mounted hierarchy. v2 has one without names; v1 has some, each with its controllers. */
export interface Hierarchy {
  readonly version: 1 | 2;
  readonly mountPoint: string;
  /** v1: `cpu`, `cpuacct` …; a named hierarchy (`name=systemd`) has none of ours. */
  readonly controllers: readonly string[];
}

export interface CgroupLayout {
  readonly mode: 'v1' | 'v2' | 'hybrid';
  readonly hierarchies: readonly Hierarchy[];
}

const CONTROLLERS = ['cpu', 'cpuacct', 'cpuset', 'memory', 'devices', 'freezer', 'blkio', 'pids'];

/**
 * The layout out of /proc/self/mountinfo: v2 when that is all there is, hybrid when v1 has the controllers and
 * a v2 tree lies beside it, v1 otherwise.
 *
 * @throws ClusterError `failedPrecondition` when nothing is mounted
 */
export function parseLayout(mountinfo: string): CgroupLayout {
  const seen = new Set<string>();
  const hierarchies: Hierarchy[] = [];
  for (const line of mountinfo.split('\n')) {
    const [left, right] = line.split(' - ');
    if (!left || !right) continue;
    const mountPoint = left
      .split(' ')[4]!
      .replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
    const [type, , options = ''] = right.split(' ');
    if (type === 'cgroup2' && !seen.has('v2')) {
      seen.add('v2');
      hierarchies.push({ version: 2, mountPoint, controllers: [] });
    } else if (type === 'cgroup') {
      const controllers = options.split(',').filter((option) => CONTROLLERS.includes(option));
      // A hierarchy may be mounted in several places; the first one counts.
      if (controllers.length === 0 || seen.has(controllers[0]!)) continue;
      for (const controller of controllers) seen.add(controller);
      hierarchies.push({ version: 1, mountPoint, controllers });
    }
  }
  const v1 = hierarchies.some(({ version }) => version === 1);
  const v2 = hierarchies.some(({ version }) => version === 2);
  if (!v1 && !v2)
    throw new ClusterError(
      'failedPrecondition',
      'no cgroup file system is mounted: mount cgroup2 at /sys/fs/cgroup',
    );
  return { mode: v1 ? (v2 ? 'hybrid' : 'v1') : 'v2', hierarchies };
}

export const readLayout = async (): Promise<CgroupLayout> =>
  parseLayout(await readFile('/proc/self/mountinfo', 'utf8'));
