import { SPEC_FLAGS, type SpecRecord } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import type { Mount } from '@tessera/shared/model';
import { API_SOCKET, isApiSocket } from '@tessera/shared/volumes';
import { MOUNT_ATTR, PROPAGATION } from './mount-flags.js';
import { labelFlag } from './security/index.js';

// A user's mounts as records for the shim.

/** Where on this host what mounts name lies. */
export interface MountPlaces {
  /** What containers see of a volume. */
  volume(name: string): string;
  /** A directory that has the manager's socket in it, whichever manager runs. */
  readonly apiDirectory: string;
}

/** Where a container finds that directory: a file system that is always its own. */
const API_TARGET = 'dev/.tessera';

/** A file that every container has, and how it is mounted. */
export interface OwnFile {
  readonly target: string;
  readonly record: SpecRecord;
}

/**
 * The shallower first, so that one mount may lie inside another: a user's /etc has our /etc/hosts in it. Our file gives
 * way to the user's own at that place, and is not put where the host would see it.
 *
 * @throws ClusterError `invalidArgument`
 */
export function userMounts(
  mounts: readonly Mount[],
  places: MountPlaces,
  files: readonly OwnFile[] = [],
): SpecRecord[] {
  const sockets = mounts.filter(isApiSocket);
  const inTurn = [
    ...files.filter(({ target }) => !mounts.some((mount) => takesPlaceOf(mount, target))),
    ...mounts
      .filter((mount) => !isApiSocket(mount))
      .map((mount): OwnFile => ({ target: mount.target, record: record(mount, places) })),
  ].sort((a, b) => partsOf(a.target).length - partsOf(b.target).length);
  return [
    ...(sockets.length > 0 ? [apiDirectory(places)] : []),
    ...inTurn.map((one) => one.record),
    ...sockets.map(apiLink),
  ];
}

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '' && part !== '.');

function takesPlaceOf({ target, propagation }: Mount, file: string): boolean {
  const [at, of] = [partsOf(target), partsOf(file)];
  const covers = at.every((part, i) => part === of[i]);
  return covers && (at.length === of.length || propagation.endsWith('shared'));
}

/**
 * A manager that comes after another binds a socket of its own, and what is bound over a container's file would stay the
 * old one. So the container gets the directory, and at the place that was asked for a link into it.
 */
const apiDirectory = ({ apiDirectory: source }: MountPlaces): SpecRecord => ({
  name: 'BIND',
  numbers: [
    MOUNT_ATTR.RDONLY | MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC,
    SPEC_FLAGS.MOUNT_SYSTEM,
    PROPAGATION.private,
  ],
  strings: [API_TARGET, source],
});

const apiLink = ({ target }: Mount): SpecRecord => ({
  name: 'SYMLINK',
  numbers: [SPEC_FLAGS.LINK_REPLACE],
  strings: [absolute(target, 'mount: target'), `/${API_TARGET}/${API_SOCKET}`],
});

function record(mount: Mount, places: MountPlaces): SpecRecord {
  absolute(mount.target, 'mount: target');
  switch (mount.type) {
    case 'tmpfs':
      return tmpfs(mount);
    case 'volume': {
      const subpath = mount.volumeMount?.subpath;
      return bind(mount, [places.volume(mount.source), ...(subpath ? [subpath.replace(/^\/+/, '')] : [])]);
    }
    default:
      return bind(mount, [absolute(mount.source, 'mount: source')]);
  }
}

function bind(mount: Mount, source: readonly string[]): SpecRecord {
  const { target, readOnly, readOnlyNonRecursive, nonRecursive } = mount;
  const kind = (mount.propagation || 'rprivate').replace(/^r/, '') as keyof typeof PROPAGATION;
  if (!Object.hasOwn(PROPAGATION, kind))
    throw invalid(`mount: propagation "${mount.propagation}" is not known: use rprivate, rslave or rshared`);
  const flags =
    labelFlag(mount) |
    (nonRecursive ? 0 : SPEC_FLAGS.MOUNT_RECURSIVE) |
    (kind === 'shared' ? SPEC_FLAGS.MOUNT_PEER : 0) |
    (mount.propagation === kind ? 0 : SPEC_FLAGS.MOUNT_PROPAGATE_ALL) |
    (readOnlyNonRecursive ? SPEC_FLAGS.MOUNT_ATTRIBUTES_TOP : 0);
  return {
    name: 'BIND',
    numbers: [readOnly ? MOUNT_ATTR.RDONLY : 0, flags, PROPAGATION[kind]],
    strings: [target, ...source],
  };
}

/** Words of mount(8): the attributes they set and take away. */
const WORDS: Readonly<Record<string, readonly [set: number, clear: number]>> = {
  ro: [MOUNT_ATTR.RDONLY, 0],
  rw: [0, MOUNT_ATTR.RDONLY],
  nosuid: [MOUNT_ATTR.NOSUID, 0],
  suid: [0, MOUNT_ATTR.NOSUID],
  nodev: [MOUNT_ATTR.NODEV, 0],
  dev: [0, MOUNT_ATTR.NODEV],
  noexec: [MOUNT_ATTR.NOEXEC, 0],
  exec: [0, MOUNT_ATTR.NOEXEC],
  noatime: [MOUNT_ATTR.NOATIME, MOUNT_ATTR.STRICTATIME],
  atime: [0, MOUNT_ATTR.NOATIME],
  relatime: [0, MOUNT_ATTR.NOATIME | MOUNT_ATTR.STRICTATIME],
  norelatime: [0, 0],
  strictatime: [MOUNT_ATTR.STRICTATIME, MOUNT_ATTR.NOATIME],
  nostrictatime: [0, MOUNT_ATTR.STRICTATIME],
  nodiratime: [MOUNT_ATTR.NODIRATIME, 0],
  diratime: [0, MOUNT_ATTR.NODIRATIME],
};

function tmpfs({ target, readOnly, tmpfsSizeBytes, tmpfsMode, tmpfsOptions }: Mount): SpecRecord {
  let attributes = MOUNT_ATTR.NOSUID | MOUNT_ATTR.NODEV | MOUNT_ATTR.NOEXEC;
  const own: string[] = [];
  for (const option of tmpfsOptions) {
    const word = Object.hasOwn(WORDS, option) ? WORDS[option] : undefined;
    if (word) attributes = (attributes & ~word[1]) | word[0];
    else own.push(option);
  }
  if (readOnly) attributes |= MOUNT_ATTR.RDONLY;
  return {
    name: 'MOUNT',
    numbers: [attributes, 0],
    strings: [
      target,
      'tmpfs',
      `mode=${(tmpfsMode || 0o1777).toString(8)}`,
      ...(tmpfsSizeBytes ? [`size=${tmpfsSizeBytes}`] : []),
      ...own,
    ],
  };
}

function absolute(path: string, field: string): string {
  if (!path.startsWith('/')) throw invalid(`${field}: "${path}" must be an absolute path`);
  return path;
}
