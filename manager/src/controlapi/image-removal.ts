import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { Transaction, View } from '../store/view.js';
import { LayerUse } from './image-layers.js';
import { familiarName, normalizeName, parseReference } from './image-reference.js';
import { type ImageUser, usersOf } from './image-users.js';

/** What removing an image did, in the order it was done. */
export type ImageRemoval =
  | { readonly kind: 'untagged'; readonly name: string }
  /** An image, or one of its layers that no other has. */
  | { readonly kind: 'deleted'; readonly id: string; readonly sizeBytes: number };

export interface RemovalOptions {
  /** Takes all names of an id, and does not ask whether containers that do not run use it. */
  readonly force: boolean;
  /** Images that were only kept as what this one was committed from go as well. */
  readonly prune: boolean;
}

export interface RemovalOutcome {
  readonly removals: readonly ImageRemoval[];
  /** Images that are no more. */
  readonly removed: readonly Image[];
}

/**
 * Takes a name away, and the image with its last one; or all of an image by its id. Must run in a transaction.
 *
 * As dockerd: a name that is the last one stays while a container uses the image, unless it is forced; then the image
 * stays without a name as long as it is used. What a service uses is never removed.
 *
 * Source: moby daemon/images/image_delete.go.
 * @param reference as the user wrote it
 * @throws ClusterError `conflict` in Docker's words
 */
export function removeImage(
  tx: Transaction,
  image: Image,
  reference: string,
  options: RemovalOptions,
): RemovalOutcome {
  const { force } = options;
  const named = namesMeant(image, reference);
  const users = usersOf(tx, image.id);
  if (named === undefined) {
    // By id: all names go, if they are names of one repository.
    const mayUntag = force || isSingleReference(image);
    const conflict = conflictOf(tx, image, users, force) ?? (mayUntag ? undefined : MANY_NAMES);
    if (conflict) throw unableToDelete(image, conflict);
    return deleteImage(tx, image, options);
  }

  if (isSingleReference(image)) refuseLastName(image, reference, users, force);
  const left = without(image, named);
  const removals = untag(tx, image, left);
  if (left.names.length + left.repoDigests.length > 0 || conflictOf(tx, left, users, force)) {
    tx.put('images', left);
    return { removals, removed: [] };
  }
  const { removals: more, removed } = deleteImage(tx, left, options);
  return { removals: [...removals, ...more], removed };
}

/** Whether what the user wrote is an id, or the beginning of one. */
function isId({ id, configDigest }: Image, reference: string): boolean {
  const digits = reference.replace(/^sha256:/, '');
  return [id, configDigest].some((digest) => digest.slice('sha256:'.length).startsWith(digits));
}

/** The one name or digest that was written; undefined: the image itself is meant. */
function namesMeant(image: Image, reference: string): string | undefined {
  if (isId(image, reference)) return undefined;
  const { repository, digest } = parseReference(reference);
  const text = digest ? `${repository}@${digest}` : normalizeName(reference);
  return [...image.names, ...image.repoDigests].includes(text) ? text : undefined;
}

const repositoryOf = (text: string): string =>
  text.includes('@') ? text.slice(0, text.indexOf('@')) : text.slice(0, text.lastIndexOf(':'));

/** All names are of one repository, and at most one of them is a tag; or there is none. */
function isSingleReference({ names, repoDigests }: Image): boolean {
  const repositories = new Set([...names, ...repoDigests].map(repositoryOf));
  return names.length <= 1 && repositories.size <= 1;
}

/** With the last tag of a repository, the image's digests there go as well. */
function without(image: Image, named: string): Image {
  const names = image.names.filter((name) => name !== named);
  const tagged = new Set(names.map(repositoryOf));
  const isGone = (text: string) =>
    text === named ||
    (!named.includes('@') && repositoryOf(text) === repositoryOf(named) && !tagged.has(repositoryOf(text)));
  return { ...image, names, repoDigests: image.repoDigests.filter((text) => !isGone(text)) };
}

function untag(tx: Transaction, before: Image, after: Pick<Image, 'names' | 'repoDigests'>): ImageRemoval[] {
  const gone = before.names.filter((name) => !after.names.includes(name));
  for (const name of gone) tx.releaseClaim(`name/image/${name}`);
  const digests = before.repoDigests.filter((text) => !after.repoDigests.includes(text));
  return [...gone, ...digests].map((text) => ({ kind: 'untagged', name: familiarName(text) }));
}

function deleteImage(tx: Transaction, image: Image, options: RemovalOptions): RemovalOutcome {
  const removals = untag(tx, image, { names: [], repoDigests: [] });
  const layers = new LayerUse([...tx.images.all()]).ownLayers(image).reverse();
  tx.delete('images', image.id);
  removals.push({ kind: 'deleted', id: image.configDigest || image.id, sizeBytes: 0 });
  for (const { chainId, sizeBytes } of layers) removals.push({ kind: 'deleted', id: chainId, sizeBytes });

  const parent = options.prune ? imageOf(tx, image.parentId) : undefined;
  if (!parent || parent.names.length + parent.repoDigests.length > 0 || isNeeded(tx, parent))
    return { removals, removed: [image] };
  const above = deleteImage(tx, parent, options);
  return { removals: [...removals, ...above.removals], removed: [image, ...above.removed] };
}

const imageOf = (view: View, configDigest: string): Image | undefined =>
  configDigest ? [...view.images.all()].find((image) => image.configDigest === configDigest) : undefined;

/** Whether an image was committed from it. */
export const hasChildren = (view: View, { configDigest }: Image): boolean =>
  [...view.images.all()].some(({ parentId }) => parentId !== '' && parentId === configDigest);

/** Whether anything uses it, or was committed from it. */
export const isNeeded = (view: View, image: Image): boolean =>
  usersOf(view, image.id).length > 0 || hasChildren(view, image);

// ---- conflicts

interface Conflict {
  readonly canBeForced: boolean;
  readonly why: string;
}

const MANY_NAMES: Conflict = { canBeForced: true, why: 'image is referenced in multiple repositories' };

/** What keeps an image, names apart. */
function conflictOf(
  view: View,
  image: Image,
  users: readonly ImageUser[],
  force: boolean,
): Conflict | undefined {
  if (hasChildren(view, image)) return { canBeForced: false, why: 'image has dependent child images' };
  const conflicts = users.map(conflictWith);
  return conflicts.find(({ canBeForced }) => !canBeForced) ?? (force ? undefined : conflicts[0]);
}

function conflictWith(user: ImageUser): Conflict {
  switch (user.kind) {
    case 'container': {
      const { id, isRunning } = user;
      const state = isRunning ? 'running' : 'stopped';
      return {
        canBeForced: !isRunning,
        why: `image is being used by ${state} container ${id.slice(0, 12)}`,
      };
    }
    case 'service':
      return { canBeForced: false, why: `image is being used by ${user.name}; remove that first` };
    case 'ending task':
      return {
        canBeForced: true,
        why: `image is being used by ${user.name}, which is shut down or about to be; wait until it is gone, or use --force`,
      };
  }
}

const unableToDelete = (image: Image, { canBeForced, why }: Conflict) =>
  new ClusterError(
    'conflict',
    `conflict: unable to delete ${shortId(image)} (${canBeForced ? 'must be forced' : 'cannot be forced'}) - ${why}`,
  );

/** Without its last name an image that is used would be hard to find again. */
function refuseLastName(image: Image, reference: string, users: readonly ImageUser[], force: boolean): void {
  const refused = (how: string, why: string) =>
    new ClusterError(
      'conflict',
      `conflict: unable to remove repository reference "${reference}" (${how}) - ${why}`,
    );
  for (const user of users) {
    const { canBeForced, why } = conflictWith(user);
    if (user.kind === 'service') throw refused('cannot be forced', why);
    if (force) continue;
    if (user.kind === 'container')
      throw refused(
        'must force',
        `container ${user.id.slice(0, 12)} is using its referenced image ${shortId(image)}`,
      );
    if (canBeForced) throw refused('must be forced', why);
  }
}

const shortId = ({ configDigest, id }: Image): string =>
  (configDigest || id).slice('sha256:'.length).slice(0, 12);
