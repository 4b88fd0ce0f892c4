import { ClusterError } from '@tessera/shared/errors';
import type { ContainerSpec, Image } from '@tessera/shared/model';
import type { Transaction, View } from '../store/view.js';
import { familiarName } from './image-reference.js';
import { imageByDigest } from './lookup.js';

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
    const image = byDigest(tx, container);
    if (!image) throw noSuchImage(`${familiarName(container.image)}@${container.imageDigest}`);
    tx.require('images', image.id);
    return { ...container, imageDigest: image.id };
  }
  const image = tx.images.byName(container.image);
  if (!image) throw noSuchImage(familiarName(container.image));
  tx.require('images', image.id);
  return { ...container, imageDigest: image.id };
}

/** What a container's image is called at its registry, by digest where one is given. */
export const referenceOf = ({ image, imageDigest }: ContainerSpec): string =>
  imageDigest ? `${image.slice(0, image.lastIndexOf(':'))}@${imageDigest}` : image;

/** Whether the cluster can say by itself which image this is. */
export function isKnownImage(view: View, container: ContainerSpec, before?: ContainerSpec): boolean {
  if (!container.imageDigest) return view.images.byName(container.image) !== undefined;
  const isKept = before?.image === container.image && before.imageDigest === container.imageDigest;
  return isKept || byDigest(view, container) !== undefined;
}

const byDigest = (view: View, { image, imageDigest }: ContainerSpec): Image | undefined =>
  imageByDigest(view, image.slice(0, image.lastIndexOf(':')), imageDigest);

/** @param reason why its registry did not give it */
export const noSuchImage = (name: string, reason?: string): ClusterError =>
  new ClusterError(
    'notFound',
    `No such image: ${name}${reason ? `: ${reason}` : ''}. No node has it: pull it with "tsctl image pull", or load it with "tsctl image load"`,
  );
