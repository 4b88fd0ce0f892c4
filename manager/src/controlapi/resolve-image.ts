import { ClusterError } from '@tessera/shared/errors';
import type { ContainerSpec } from '@tessera/shared/model';
import type { Transaction } from '../store/view.js';
import { familiarName } from './image-reference.js';

/**
 * The container with its image pinned to a manifest digest, once, by the store: every task of this version of the
 * spec runs the same bytes, whatever its name means later.
 *
 * @param before the container of the spec that is replaced: an image that is kept needs no second look
 * @throws ClusterError `notFound` when no node of the cluster has the image
 */
export function resolveImage(
  tx: Transaction,
  container: ContainerSpec,
  before?: ContainerSpec,
): ContainerSpec {
  const kept = before?.image === container.image ? before : undefined;
  if (container.imageDigest) {
    if (kept?.imageDigest === container.imageDigest) return container;
    const image = tx.images.get(container.imageDigest);
    if (!image) throw noSuchImage(`${familiarName(container.image)}@${container.imageDigest}`);
    tx.require('images', image.id);
    return container;
  }
  const image = tx.images.byName(container.image);
  if (!image) throw noSuchImage(familiarName(container.image));
  tx.require('images', image.id);
  return { ...container, imageDigest: image.id };
}

const noSuchImage = (name: string): ClusterError =>
  new ClusterError(
    'notFound',
    `No such image: ${name}. No node has it, and pulling from a registry is not supported yet: load it with "tsctl image load"`,
  );
