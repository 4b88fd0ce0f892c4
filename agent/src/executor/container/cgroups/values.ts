import { SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { MOUNT_ATTR, PROPAGATION } from '../mount-flags.js';

// Values that both cgroup versions share.

/** The period quotas are given in: Docker's, and the kernel's default. */
export const CPU_PERIOD_US = 100_000;

/** Run time per period. The kernel refuses less than 1 ms. */
export const quotaUs = (nanoCpus: number): number =>
  Math.max(1_000, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9));

/** Swap a container may use beside its memory: as much again, as Docker has it. */
export const swapLimit = (memoryBytes: number): number => memoryBytes;

export const READONLY_MOUNT = MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;

/** Shows a container its group in `parent` at `target`, read-only. */
export const groupMount = (target: string, parent: string): SpecRecord => ({
  name: 'BIND',
  numbers: [READONLY_MOUNT, SPEC_FLAGS.MOUNT_SYSTEM | SPEC_FLAGS.MOUNT_GROUP, PROPAGATION.private],
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
