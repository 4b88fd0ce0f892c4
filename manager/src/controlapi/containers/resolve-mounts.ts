import { newHexId, type Random } from '@tessera/shared/env';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { type Container, type Mount, Placement, type Volume, VolumeMount } from '@tessera/shared/model';
import { assertVolumeName, withImageVolumes } from '@tessera/shared/volumes';
import { nodeOfVolume, volumeClaim } from '../../loops/volumes.js';
import type { Transaction, View } from '../../store/view.js';
import { nameOfNode } from '../volumes/lookup.js';
import { assertDriver, LOCAL_DRIVER, makeVolume } from '../volumes/volumes.js';
import { getContainer, whyUnreachable } from './lookup.js';

export interface MountOwner {
  readonly containerId: string;
  readonly random: Random;
  /** Of the image. */
  readonly volumes: readonly string[];
}

/**
 * A container with all its mounts: its own, those of the containers it takes volumes from, and its image's volumes. Each
 * volume has a name, and an object: the one that is there, or a new one.
 *
 * @throws ClusterError `notFound` for a container there is not, `conflict` where a volume's node is away
 */
export function resolveMounts(tx: Transaction, container: Container, owner: MountOwner): Container {
  const own = container.spec!.mounts;
  const taken = new Set(own.map(({ target }) => target));
  const others = container.host?.volumesFrom.map((text) => mountsFrom(tx, text)) ?? [];
  // Of several that mount at one place the last one counts, as with Docker, and what is said outright before all.
  const borrowed = new Map(
    others.flatMap(({ mounts }) => mounts.map((mount) => [mount.target, mount] as const)),
  );
  const said = [...own, ...[...borrowed.values()].filter(({ target }) => !taken.has(target))];
  const mounts = withImageVolumes(said, owner.volumes);
  return {
    ...container,
    spec: { ...container.spec!, mounts: mounts.map((mount) => resolveVolume(tx, mount, owner)) },
    placement: {
      ...(container.placement ?? Placement.fromPartial({})),
      coLocatedWith: [
        ...new Set([...(container.placement?.coLocatedWith ?? []), ...others.map(({ id }) => id)]),
      ],
    },
  };
}

/** `CONTAINER[:ro|rw|z|Z]` */
function mountsFrom(view: View, text: string): { readonly id: string; readonly mounts: readonly Mount[] } {
  const at = text.lastIndexOf(':');
  const [reference, mode] = at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
  if (reference === '') throw invalid(`malformed volumesFrom specification: ${text}`);
  if (at >= 0 && !['', 'ro', 'rw', 'z', 'Z'].includes(mode)) throw invalid(`invalid mode: ${mode}`);
  const other = getContainer(view, reference);
  const mounts = other
    .spec!.mounts.filter(({ origin }) => origin !== 'tmpfs_flag')
    .map((mount): Mount => ({ ...mount, origin: 'volumes_from', readOnly: mount.readOnly || mode === 'ro' }));
  return { id: other.id, mounts };
}

function resolveVolume(tx: Transaction, mount: Mount, owner: MountOwner): Mount {
  // What another container has is named already, and stays its own to give up.
  if (mount.type !== 'volume' || (mount.origin === 'volumes_from' && mount.volumeMount?.id)) {
    if (mount.volumeMount?.id) requireVolume(tx, tx.volumes.get(mount.volumeMount.id), mount.source);
    return mount;
  }
  const said = { ...VolumeMount.fromPartial({}), ...mount.volumeMount };
  const anonymous = mount.source === '';
  const name = mount.source || newHexId(owner.random);
  assertDriver(name, said.driver);
  assertVolumeName(name);
  const known = volumeByName(tx, name);
  if (known) requireVolume(tx, known, name);
  const { labels, options } = said;
  const { containerId } = owner;
  const volume =
    known ??
    makeVolume(tx, { name, driver: LOCAL_DRIVER, labels, options, anonymous, containerId }, owner.random);
  return { ...mount, source: name, volumeMount: { ...said, id: volume.id, anonymous } };
}

function volumeByName(view: View, name: string): Volume | undefined {
  const owner = view.claim(volumeClaim(name));
  return owner === undefined ? undefined : view.volumes.get(owner.slice('volume/'.length));
}

/** It must not be removed while a container comes to have it, and its node must be there. */
function requireVolume(tx: Transaction, volume: Volume | undefined, name: string): void {
  if (!volume || volume.removing)
    throw new ClusterError('conflict', `volume ${name} is being removed: try again when it is gone`);
  tx.require('volumes', volume.id);
  const nodeId = nodeOfVolume(tx, volume);
  const away = nodeId === '' ? undefined : whyUnreachable(tx, nodeId);
  if (!away) return;
  const where = `volume ${name} is on node ${nameOfNode(tx, nodeId)}`;
  const state = tx.nodes.get(nodeId)
    ? (tx.nodeStatuses.get(nodeId)?.state ?? 'unknown')
    : 'no longer part of the cluster';
  throw new ClusterError(
    'conflict',
    `${where}, which is ${state}: its content cannot be reached from any other`,
  );
}
