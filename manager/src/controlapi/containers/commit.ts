import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import { tellOfContainer, tellOfImage } from '../events/index.js';
import { awaitCopies } from '../image-copies.js';
import { familiarName, normalizeName } from '../image-reference.js';
import { addNames } from '../images.js';
import type { ControlContext } from '../ports.js';
import type { ContainerCalls } from './calls.js';
import type { KnownContainer } from './lookup.js';

export interface Commit {
  /** What the image is to be called; empty: it gets no name. */
  readonly name: string;
  /** What it says of its containers, as its configuration file has it. */
  readonly config: object;
  readonly author: string;
  readonly comment: string;
  /** What the container ran. */
  readonly createdBy: string;
  /** Nothing of the container moves while it is read. */
  readonly pause: boolean;
}

/**
 * Makes an image of what a container has written. Returns when two ready nodes hold it, or one where there is one.
 *
 * @throws ClusterError what its node says of it, `unavailable` when that cannot be reached
 */
export async function commitContainer(
  context: ControlContext,
  calls: ContainerCalls,
  container: KnownContainer,
  wanted: Commit,
  signal: AbortSignal,
): Promise<Image> {
  const names = wanted.name === '' ? [] : [normalizeName(wanted.name)];
  const { config, name: _, ...call } = wanted;
  const value = { ...call, config: Buffer.from(JSON.stringify(config)) };
  const image = await calls.call(container, { $case: 'commit', value }, 'image', signal);
  if (image.id === '') throw new ClusterError('internal', 'the node made an image without an id');
  const tagged = { ...image, lastTaggedAtMs: names.length > 0 ? context.clock.now() : 0 };
  await context.store.update((tx) => addNames(tx, tagged, names));
  if (names[0]) await tellOfImage(context, 'tag', image, familiarName(names[0]));
  await tellOfContainer(context, container.container.id, 'commit', {
    comment: wanted.comment,
    imageID: image.configDigest,
    imageRef: names[0] ? familiarName(names[0]) : '',
  });
  await awaitCopies(context, image, (line) => context.logger.warn({ 'image.id': image.id }, line), signal);
  return image;
}
