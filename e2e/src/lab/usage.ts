import type { Lab } from './lab.js';
import { pidsOf } from './processes.js';

export interface Usage {
  /** Things that must return to their number: descriptors, links, mounts, cgroups, keys. */
  readonly counts: Readonly<Record<string, number>>;
  /** Resident memory of each daemon. */
  readonly residentBytes: Readonly<Record<string, number>>;
}

/** What the daemons of a lab hold, by host. Descriptors are counted once nothing is under way. */
export async function usageOf(lab: Lab): Promise<Usage> {
  const counts: Record<string, number> = {};
  const residentBytes: Record<string, number> = {};
  for (const host of lab.hosts) {
    const count = async (what: string, script: string) => {
      counts[`${host.name} ${what}`] = Number((await host.exec(['sh', '-c', script])).stdout.trim());
    };
    await count('links', 'ls /sys/class/net | wc -l');
    await count('mounts', 'wc -l < /proc/mounts');
    await count(
      'cgroups',
      `find /sys/fs/cgroup/*${host.cgroupParent} /sys/fs/cgroup${host.cgroupParent} -type d 2>/dev/null | wc -l`,
    );
    await count('processes', 'ls -d /proc/[0-9]* | wc -l');
    for (const kind of ['agent', 'manager'] as const) {
      for (const pid of await pidsOf(host, kind)) {
        const key = `${host.name} ${kind}`;
        const { stdout } = await host.exec([
          'sh',
          '-c',
          `ls /proc/${pid}/fd | wc -l; grep VmRSS /proc/${pid}/status`,
        ]);
        const [descriptors, memory] = stdout.split('\n');
        counts[`${key} descriptors`] = Number(descriptors);
        residentBytes[key] = Number(/\d+/.exec(memory ?? '')?.[0] ?? 0) * 1024;
      }
    }
  }
  counts['etcd keys'] = await etcdKeys(lab);
  return { counts, residentBytes };
}

/** Keys under the product's prefix; sessions and elections come and go with leases and are not counted. */
async function etcdKeys(lab: Lab): Promise<number> {
  const [manager] = lab.hosts;
  const directory = `${manager!.dataDir}/manager`;
  const { stdout } = await manager!.exec([
    'sh',
    '-c',
    `cd ${directory} && find . -name '*:0' -type s | head -1 | while read s; do cd "$(dirname "$s")" && ETCDCTL_API=3 etcdctl --endpoints "unix://$(basename "$s")" get --prefix /tessera/v1/ --keys-only | grep -cE '^/tessera/v1/(tasks|taskStatuses|services|serviceStatuses|specs|claims|networks|networkStatuses)/'; done`,
  ]);
  return Number(stdout.trim());
}
