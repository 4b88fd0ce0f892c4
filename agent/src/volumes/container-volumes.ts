import { createHash } from 'node:crypto';
import type { Mount, Volume } from '@tessera/shared/model';
import { VolumeMount } from '@tessera/shared/model';
import { ANONYMOUS_LABEL } from '@tessera/shared/volumes';
import type { ImageTree, Volumes, VolumeWish } from './volumes.js';

export const LOCAL_DRIVER = 'local';

/**
 * A task's mounts with a name for each volume that has none: the same whenever it is asked for, so that an agent which
 * dies in between makes no second one.
 */
export const namedMounts = (mounts: readonly Mount[], taskId: string): Mount[] =>
  mounts.map((mount) => {
    if (mount.type !== 'volume' || mount.source !== '') return mount;
    const source = createHash('sha256').update(`${taskId} ${mount.target}`).digest('hex');
    return {
      ...mount,
      source,
      volumeMount: { ...VolumeMount.create(mount.volumeMount), anonymous: true },
    };
  });

/** Names of the volumes among a container's mounts. */
export const volumeNames = (mounts: readonly Mount[]): string[] => [
  ...new Set(mounts.flatMap(({ type, source }) => (type === 'volume' ? [source] : []))),
];

/** Those that go with a task. */
export const anonymousNames = (mounts: readonly Mount[]): string[] =>
  volumeNames(mounts.filter(({ volumeMount }) => volumeMount?.anonymous === true));

/**
 * Makes what there is not yet of a container's volumes, and fills those that are empty with what its image has there.
 *
 * @param known the cluster's volumes among them; the others are this node's own
 * @throws ClusterError `unavailable` while one of them is being removed, `failedPrecondition` when one cannot be mounted
 */
export async function prepareVolumes(
  volumes: Volumes,
  containerId: string,
  mounts: readonly Mount[],
  known: readonly Volume[],
  image: ImageTree,
  signal: AbortSignal,
): Promise<void> {
  for (const mount of mounts) {
    if (mount.type !== 'volume') continue;
    const { source: name, target, origin, volumeMount } = mount;
    volumes.use(name, containerId);
    await volumes.ensure(wishOf(mount, known));
    const copies = volumeMount?.noCopy !== true && origin !== 'volumes_from' && !volumeMount?.subpath;
    await volumes.fill(name, copies ? image : undefined, target, signal);
  }
}

function wishOf({ source: name, volumeMount }: Mount, known: readonly Volume[]): VolumeWish {
  const volume = known.find(({ id }) => id === volumeMount?.id);
  if (volume) {
    const { id: volumeId, driver, labels, options } = volume;
    return { name, volumeId, driver, labels, options };
  }
  const { anonymous = false, driver = '', labels = {}, options = {} } = volumeMount ?? {};
  return {
    name,
    volumeId: '',
    driver: driver || LOCAL_DRIVER,
    labels: anonymous ? { ...labels, [ANONYMOUS_LABEL]: '' } : labels,
    options,
  };
}
