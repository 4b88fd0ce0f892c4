import { api } from './api.js';
import type { LabHost } from './host.js';
import type { Lab } from './lab.js';
import { pidsOf } from './processes.js';
import { waitFor } from './wait.js';

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
    for (const [name, processes] of await processNames(host))
      counts[`${host.name} processes ${name}`] = processes;
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

/** How many processes of each name a host has, so that what has grown says which. */
async function processNames(host: LabHost): Promise<Map<string, number>> {
  const { stdout } = await host.exec(['sh', '-c', 'cat /proc/[0-9]*/comm 2>/dev/null']);
  const names = new Map<string, number>();
  for (const name of stdout.split('\n').filter(Boolean)) names.set(name, (names.get(name) ?? 0) + 1);
  return names;
}

/** The same, once two looks in a row agree: what is being taken apart is gone by then. */
export async function settledUsage(lab: Lab): Promise<Usage> {
  let last = '';
  return waitFor(
    'usage to settle',
    async () => {
      const usage = await usageOf(lab);
      const counts = JSON.stringify(usage.counts);
      const isSettled = counts === last;
      last = counts;
      return isSettled && usage;
    },
    { intervalMs: 1_000 },
  );
}

/** Of what daemons hold for themselves, and not for a container. */
const HELD_BY_DAEMONS = / (processes .*|descriptors)$/;

/**
 * What has grown since, once all that may still return has had its time; memory by more than a heap's play.
 *
 * @param play by how much processes and descriptors may differ: connections between daemons come and go
 */
export async function growthSince(lab: Lab, before: Usage, play = 0): Promise<string[]> {
  let grown: string[] = [];
  // The kernel takes network namespaces apart in its own time, and heaps shrink when they have been idle.
  await waitFor('everything to return', async () => {
    const after = await usageOf(lab);
    grown = [
      ...Object.entries(after.counts)
        .filter(
          ([what, count]) => count > (before.counts[what] ?? 0) + (HELD_BY_DAEMONS.test(what) ? play : 0),
        )
        .map(([what, count]) => `${what}: ${before.counts[what]} → ${count}`),
      ...Object.entries(after.residentBytes)
        .filter(([process, bytes]) => bytes > (before.residentBytes[process] ?? 0) * 1.25 + 24 * 2 ** 20)
        .map(([process, bytes]) => `memory of ${process}: ${before.residentBytes[process]} → ${bytes}`),
    ];
    return grown.length === 0;
  }).catch(() => {});
  return grown;
}

const COUNTED_KINDS = [
  'tasks',
  'taskStatuses',
  'services',
  'serviceStatuses',
  'specs',
  'networks',
  'networkStatuses',
  'containers',
  'containerPlacements',
  'containerStates',
  'claims',
];

/** Keys of what users make; sessions, statuses of nodes and elections come and go by themselves. */
async function etcdKeys(lab: Lab): Promise<number> {
  let keys = 0;
  for (const kind of COUNTED_KINDS) {
    const prefix = `/tessera/v1/${kind}/`;
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    // etcd's JSON gateway (etcd docs, "gRPC gateway"): the end of the range is the prefix with its last byte raised.
    const { count = '0' } = await api<{ count?: string }>(
      `${lab.hosts[0]!.runDir}/etcd/client:0`,
      'POST',
      '/v3/kv/range',
      {
        key: base64(prefix),
        range_end: base64(`/tessera/v1/${kind}0`),
        count_only: true,
      },
    );
    keys += Number(count);
  }
  return keys;
}
