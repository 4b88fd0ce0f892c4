// Values that both cgroup versions share.

/** The period quotas are given in: Docker's, and the kernel's default. */
export const CPU_PERIOD_US = 100_000;

/** Run time per period. The kernel refuses less than 1 ms. */
export const quotaUs = (nanoCpus: number): number =>
  Math.max(1_000, Math.round((nanoCpus * CPU_PERIOD_US) / 1e9));

/** Swap a container may use beside its memory: as much again, as Docker has it. */
export const swapLimit = (memoryBytes: number): number => memoryBytes;

/** MOUNT_ATTR_RDONLY | NOSUID | NODEV | NOEXEC of mount_setattr(2). */
export const MOUNT_READONLY = 0x1 | 0x2 | 0x4 | 0x8;

/** The number after `key ` at the beginning of a line; 0 when there is none. */
export function counter(content: string, key: string): number {
  const line = content.split('\n').find((each) => each.startsWith(`${key} `));
  return line === undefined ? 0 : Number(line.slice(key.length + 1));
}
