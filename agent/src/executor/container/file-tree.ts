import { SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { MASKED_PATHS_DEFAULT, READONLY_PATHS_DEFAULT } from '@tessera/shared/docker-api';
import type { DeviceRule } from './cgroups/index.js';
import { MOUNT_ATTR, PROPAGATION } from './mount-flags.js';
import type { Namespaces } from './namespaces.js';

// What every container's file tree has, as Docker makes it. Source: OCI runtime specification, config-linux.md;
// moby, oci/defaults.go.

const { RDONLY, NOSUID, NODEV, NOEXEC } = MOUNT_ATTR;
const { MOUNT_SYSTEM, MOUNT_LENT, MOUNT_SHARED } = SPEC_FLAGS;

const mount = (attributes: number, ...strings: string[]): SpecRecord => ({
  name: 'MOUNT',
  numbers: [attributes, MOUNT_SYSTEM],
  strings,
});

const S_IFCHR = 0o020000;
const node = (path: string, major: number, minor: number): SpecRecord => ({
  name: 'DEVICE',
  numbers: [S_IFCHR | 0o666, major, minor, 0, 0],
  strings: [path],
});
const link = (path: string, target: string): SpecRecord => ({
  name: 'SYMLINK',
  numbers: [0],
  strings: [path, target],
});

/** proc first, since others are checked against it; /dev before what lies in it. */
export function systemMounts(options: {
  readonly cgroups: readonly SpecRecord[];
  readonly shmBytes: number;
  readonly pid: Namespaces['pid'];
  readonly ipc: Namespaces['ipc'];
  readonly privileged: boolean;
}): SpecRecord[] {
  return [
    options.pid === 'joined'
      ? { name: 'MOUNT', numbers: [0, MOUNT_SYSTEM | MOUNT_LENT], strings: ['proc', 'proc'] }
      : mount(NOSUID | NODEV | NOEXEC, 'proc', 'proc'),
    mount(NOSUID, 'dev', 'tmpfs', 'mode=755', 'size=65536k'),
    node('dev/null', 1, 3),
    node('dev/zero', 1, 5),
    node('dev/full', 1, 7),
    node('dev/random', 1, 8),
    node('dev/urandom', 1, 9),
    node('dev/tty', 5, 0),
    link('dev/fd', '/proc/self/fd'),
    link('dev/stdin', '/proc/self/fd/0'),
    link('dev/stdout', '/proc/self/fd/1'),
    link('dev/stderr', '/proc/self/fd/2'),
    link('dev/core', '/proc/kcore'),
    link('dev/ptmx', 'pts/ptmx'),
    mount(NOSUID | NOEXEC, 'dev/pts', 'devpts', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'),
    ...shm(options.ipc, options.shmBytes),
    mount(NOSUID | NODEV | NOEXEC, 'dev/mqueue', 'mqueue'),
    mount((options.privileged ? 0 : RDONLY) | NOSUID | NODEV | NOEXEC, 'sys', 'sysfs'),
    ...options.cgroups,
  ];
}

/** Where System V's and POSIX's shared memory are shared, /dev/shm is as well. */
function shm(ipc: Namespaces['ipc'], bytes: number): SpecRecord[] {
  const attributes = NOSUID | NODEV | NOEXEC;
  const made = ['dev/shm', 'tmpfs', 'mode=1777', `size=${bytes}`];
  switch (ipc) {
    case 'none':
      return [];
    case 'private':
      return [mount(attributes, ...made)];
    case 'shareable':
      return [{ name: 'MOUNT', numbers: [attributes, MOUNT_SYSTEM | MOUNT_SHARED], strings: made }];
    case 'joined':
      return [
        {
          name: 'MOUNT',
          numbers: [0, MOUNT_SYSTEM | MOUNT_LENT | MOUNT_SHARED],
          strings: ['dev/shm', 'shm'],
        },
      ];
    case 'host':
      return [
        {
          name: 'BIND',
          numbers: [attributes, MOUNT_SYSTEM | MOUNT_SHARED, PROPAGATION.private],
          strings: ['dev/shm', '/dev/shm'],
        },
      ];
  }
}

const withoutRoot = (path: string): string => path.slice(1);

/** Of a host with this many processors: their throttling counters give away what other containers do (GHSA-6fw5-f8r9-fgfm). */
const maskedByDefault = (cpus: number): string[] => [
  ...MASKED_PATHS_DEFAULT.map(withoutRoot),
  ...Array.from({ length: cpus }, (_, cpu) => `sys/devices/system/cpu/cpu${cpu}/thermal_throttle`),
];

/** Hides paths that tell too much of the host, and makes read-only what changes it: the defaults, or the user's own. */
export const protectedPaths = (options: {
  readonly cpus: number;
  readonly maskedPaths: readonly string[] | undefined;
  readonly readonlyPaths: readonly string[] | undefined;
}): SpecRecord[] => [
  ...(options.maskedPaths ?? maskedByDefault(options.cpus)).map(
    (path): SpecRecord => ({ name: 'MASK', strings: [path] }),
  ),
  ...(options.readonlyPaths ?? READONLY_PATHS_DEFAULT.map(withoutRoot)).map(
    (path): SpecRecord => ({ name: 'READONLY', strings: [path] }),
  ),
];

/** Devices any container may use; nodes may be made of all. Source: moby, oci/defaults.go. */
export const DEFAULT_DEVICES: readonly DeviceRule[] = [
  { type: 'c', access: 'm' },
  { type: 'b', access: 'm' },
  { type: 'c', major: 1, minor: 3, access: 'rwm' },
  { type: 'c', major: 1, minor: 5, access: 'rwm' },
  { type: 'c', major: 1, minor: 7, access: 'rwm' },
  { type: 'c', major: 1, minor: 8, access: 'rwm' },
  { type: 'c', major: 1, minor: 9, access: 'rwm' },
  { type: 'c', major: 5, minor: 0, access: 'rwm' },
  { type: 'c', major: 5, minor: 1, access: 'rwm' },
  { type: 'c', major: 5, minor: 2, access: 'rwm' },
  { type: 'c', major: 136, access: 'rwm' },
];
