import type { MountJson } from '@tessera/shared/docker-api';
import { invalid } from '@tessera/shared/errors';
import { Mount, VolumeMount } from '@tessera/shared/model';
import { cleanPath } from '@tessera/shared/volumes';
import { z } from 'zod';
import { count, flag, omitEmpty, sortedMap, strictObject, text, textMap } from './json-edge.js';

// A mount in Docker's JSON, which containers and services have in common. Source: moby api/swagger.yaml, v1.50, Mount;
// volume/mounts/linux_parser.go and validate.go, for the words.

export const mountSchema = strictObject(
  {
    Type: z.string(),
    Source: text,
    Target: z.string(),
    ReadOnly: flag,
    BindOptions: strictObject({
      Propagation: text,
      NonRecursive: flag,
      CreateMountpoint: flag,
      ReadOnlyNonRecursive: flag,
      ReadOnlyForceRecursive: flag,
    }).nullish(),
    VolumeOptions: strictObject({
      NoCopy: flag,
      Labels: textMap,
      Subpath: text,
      DriverConfig: strictObject({ Name: text, Options: textMap }).nullish(),
    }).nullish(),
    TmpfsOptions: strictObject({
      SizeBytes: count,
      Mode: count,
      Options: z.array(z.array(z.string()).min(1).max(2)).nullish(),
    }).nullish(),
    Consistency: z.enum(['', 'default', 'consistent', 'cached', 'delegated']).nullish(),
  },
  {
    ImageOptions: 'is not supported yet; leave it out',
    ClusterOptions: 'is not supported yet; leave it out',
  },
);
export type MountBody = z.output<typeof mountSchema>;

const TYPES = ['bind', 'volume', 'tmpfs'] as const satisfies readonly Mount['type'][];

/** @throws ClusterError `invalidArgument` in Docker's words */
export function mountFromDocker(json: MountBody): Mount {
  const type = TYPES.find((known) => known === json.Type);
  if (!type) throw faulty(json.Type, 'mount type unknown');
  const { BindOptions: bind, VolumeOptions: volume, TmpfsOptions: tmpfs } = json;
  const mount = Mount.fromPartial({
    type,
    source: json.Source ?? '',
    target: json.Target,
    readOnly: json.ReadOnly ?? false,
    propagation: bind?.Propagation ?? '',
    nonRecursive: bind?.NonRecursive ?? false,
    createSource: bind?.CreateMountpoint ?? false,
    readOnlyNonRecursive: bind?.ReadOnlyNonRecursive ?? false,
    readOnlyForceRecursive: bind?.ReadOnlyForceRecursive ?? false,
    consistency: json.Consistency ?? '',
    tmpfsSizeBytes: tmpfs?.SizeBytes ?? 0,
    tmpfsMode: tmpfs?.Mode ?? 0,
    tmpfsOptions: tmpfsOptions((tmpfs?.Options ?? []).map((words) => words.join('='))),
    ...(volume
      ? {
          volumeMount: {
            noCopy: volume.NoCopy ?? false,
            subpath: volume.Subpath ?? '',
            labels: sortedMap(volume.Labels),
            driver: volume.DriverConfig?.Name ?? '',
            options: sortedMap(volume.DriverConfig?.Options),
          },
        }
      : {}),
  });
  if (volume && type !== 'volume') throw faulty(type, extra('VolumeOptions'));
  if (tmpfs && type !== 'tmpfs') throw faulty(type, extra('TmpfsOptions'));
  if (bind && type !== 'bind') throw faulty(type, extra('BindOptions'));
  return checkedMount(mount);
}

const PROPAGATIONS = new Set(['', 'private', 'rprivate', 'slave', 'rslave', 'shared', 'rshared']);

/** With a clean target. @throws ClusterError `invalidArgument` in Docker's words */
export function checkedMount(mount: Mount): Mount {
  const { type, source, target, propagation, readOnly, origin } = mount;
  if (target === '') throw faulty(type, missing('Target'));
  const clean = cleanPath(target);
  if (clean === '/') throw faulty(type, "invalid specification: destination can't be '/'");
  if (!clean.startsWith('/')) throw faulty(type, notAbsolute(target));
  if (type === 'bind') {
    if (source === '') throw faulty(type, missing('Source'));
    if (!source.startsWith('/')) throw faulty(type, notAbsolute(source));
    if (!PROPAGATIONS.has(propagation)) throw faulty(type, `invalid propagation mode: ${propagation}`);
    if (mount.readOnlyNonRecursive && !readOnly)
      throw faulty(type, 'mount source can only be read-only non-recursive if it is read-only');
    if (mount.readOnlyForceRecursive && !readOnly)
      throw faulty(type, 'mount source can only be read-only recursive if it is read-only');
  }
  if (type === 'volume' && propagation !== '') throw faulty(type, extra('BindOptions'));
  if (type === 'volume' && source === '' && readOnly && origin === 'mounts')
    throw faulty(type, 'must not set ReadOnly mode when using anonymous volumes');
  const subpath = mount.volumeMount?.subpath ?? '';
  if (subpath.startsWith('/') || subpath.split('/').includes('..'))
    throw faulty(type, 'subpath must be a relative path within the volume');
  if (type === 'tmpfs' && source !== '') throw faulty(type, extra('Source'));
  return { ...mount, target: clean, source: type === 'bind' ? cleanPath(source) : source };
}

const faulty = (type: string, reason: string) =>
  invalid(`invalid mount config for type "${type}": ${reason}`);
const missing = (field: string) => `field ${field} must not be empty`;
const extra = (field: string) => `field ${field} must not be specified`;
const notAbsolute = (path: string) => `invalid mount path: '${path}' mount path must be absolute`;

/** Words that set or take away a flag, and names of values. Source: moby/sys/mount: validFlags, MergeTmpfsOptions. */
const TMPFS_FLAGS = new Set(
  'defaults ro rw suid nosuid dev nodev exec noexec async sync dirsync atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime'.split(
    ' ',
  ),
);
const TMPFS_VALUES = new Set(['size', 'mode', 'uid', 'gid', 'nr_inodes', 'nr_blocks', 'mpol']);

/** @throws ClusterError `invalidArgument` in Docker's words */
export function tmpfsOptions(options: readonly string[]): string[] {
  for (const option of options) {
    const [name = '', value] = option.split(/=(.*)/s);
    if (value === undefined ? !TMPFS_FLAGS.has(name) : !TMPFS_VALUES.has(name))
      throw invalid(`invalid tmpfs option ["${option}"]`);
  }
  return options.filter((option) => option !== 'defaults');
}

/** As it was asked for. */
export function mountToDocker(mount: Mount): MountJson {
  const volume = mount.volumeMount ?? VolumeMount.fromPartial({});
  return {
    Type: mount.type,
    Target: mount.target,
    ...omitEmpty<Omit<MountJson, 'Type' | 'Target'>>({
      Source: volume.anonymous ? '' : mount.source,
      ReadOnly: mount.readOnly,
      Consistency: mount.consistency,
      BindOptions: omitEmpty<NonNullable<MountJson['BindOptions']>>({
        Propagation: mount.propagation,
        NonRecursive: mount.nonRecursive,
        CreateMountpoint: mount.createSource,
        ReadOnlyNonRecursive: mount.readOnlyNonRecursive,
        ReadOnlyForceRecursive: mount.readOnlyForceRecursive,
      }),
      VolumeOptions: omitEmpty<NonNullable<MountJson['VolumeOptions']>>({
        NoCopy: volume.noCopy,
        Labels: volume.labels,
        Subpath: volume.subpath,
        DriverConfig: omitEmpty<{ Name?: string; Options?: MountLabels }>({
          Name: volume.driver,
          Options: volume.options,
        }),
      }),
      TmpfsOptions: omitEmpty<NonNullable<MountJson['TmpfsOptions']>>({
        SizeBytes: mount.tmpfsSizeBytes,
        Mode: mount.tmpfsMode,
        Options: mount.tmpfsOptions.map((option) => option.split(/=(.*)/s).slice(0, 2)),
      }),
    }),
  };
}
type MountLabels = Readonly<Record<string, string>>;
