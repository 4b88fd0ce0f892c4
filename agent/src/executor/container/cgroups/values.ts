import { readdir, readFile, writeFile } from 'node:fs/promises';
import { SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import { MOUNT_ATTR, PROPAGATION } from '../mount-flags.js';
import type { GroupLimits } from './driver.js';

// Values that both cgroup versions share.

/** The period quotas are given in: Docker's, and the kernel's default. */
export const CPU_PERIOD_US = 100_000;

/** Run time per period. The kernel refuses less than 1 ms. */
export const quotaUs = (nanoCpus: number): number =>
  Math.max(1_000, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9));

/** Swap a container may use beside its memory: as much again, as Docker has it. */
export const swapLimit = (memoryBytes: number): number => memoryBytes;

export const READONLY_MOUNT = MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;

/** The files' values for a quota and a period; undefined where neither is limited. */
export function bandwidth({ nanoCpus, cpuQuotaUs, cpuPeriodUs }: GroupLimits) {
  if (nanoCpus) return { quotaUs: quotaUs(nanoCpus), periodUs: CPU_PERIOD_US };
  if (cpuQuotaUs || cpuPeriodUs) return { quotaUs: cpuQuotaUs, periodUs: cpuPeriodUs ?? CPU_PERIOD_US };
  return undefined;
}

/** Shows a container its group in `parent` at `target`. */
export const groupMount = (target: string, parent: string, writable: boolean): SpecRecord => ({
  name: 'BIND',
  numbers: [
    writable ? READONLY_MOUNT & ~MOUNT_ATTR.RDONLY : READONLY_MOUNT,
    SPEC_FLAGS.MOUNT_SYSTEM | SPEC_FLAGS.MOUNT_GROUP,
    PROPAGATION.private,
  ],
  strings: [target, parent],
});

/** A file of the group before it, written once. @param optional not every kernel has it */
export const file = (name: string, value: string | number, optional = false): SpecRecord => ({
  name: 'GROUP_FILE',
  numbers: [optional ? SPEC_FLAGS.GROUP_FILE_OPTIONAL : 0],
  strings: [name, String(value)],
});

/** A file that takes one line in each write. */
export const fileOfLines = (name: string, lines: readonly string[]): SpecRecord => ({
  name: 'GROUP_FILE',
  numbers: [0],
  strings: [name, ...lines],
});

/** The number after `key ` at the beginning of a line; 0 when there is none. */
export function counter(content: string, key: string): number {
  const line = content.split('\n').find((each) => each.startsWith(`${key} `));
  return line === undefined ? 0 : Number(line.slice(key.length + 1));
}

/** Writes the files of `GROUP_FILE` records into a group that is there. @throws what the kernel refuses */
export async function writeFiles(path: string, records: readonly SpecRecord[]): Promise<void> {
  for (const { name, numbers, strings = [] } of records) {
    if (name !== 'GROUP_FILE') continue;
    const [file = '', ...values] = strings;
    for (const value of values) {
      await writeFile(`${path}/${file}`, value).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT' && numbers?.[0] === SPEC_FLAGS.GROUP_FILE_OPTIONAL) return;
        throw new ClusterError('invalidArgument', `${file}: the kernel refuses "${value}"`, { cause: error });
      });
    }
  }
}

/** The kernel counts processor time in hundredths of a second for us, on every machine (USER_HZ). */
export const TICK_NS = 10_000_000;

/** Everything in the group and below: a container may have made groups of its own. */
export async function readProcesses(path: string): Promise<number[]> {
  const lists = await readdir(path, { recursive: true, withFileTypes: true }).then(
    (entries) =>
      entries
        .filter(({ name }) => name === 'cgroup.procs')
        .map((entry) => `${entry.parentPath}/${entry.name}`),
    () => [] as string[],
  );
  const contents = await Promise.all(lists.map((list) => readFile(list, 'utf8').catch(() => '')));
  return contents.flatMap((content) => content.split('\n').filter(Boolean).map(Number)).sort((a, b) => a - b);
}

/** All lines "name number". */
export function counters(content: string): Record<string, number> {
  const entries = content.split('\n').flatMap((line): [string, number][] => {
    const space = line.indexOf(' ');
    return space < 0 ? [] : [[line.slice(0, space), Number(line.slice(space + 1))]];
  });
  return Object.fromEntries(entries);
}
