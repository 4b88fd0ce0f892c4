import { invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { Upload } from '../streams/index.js';
import { tellOfImage } from './events/index.js';
import { awaitCopies } from './image-copies.js';
import { familiarName, normalizeName } from './image-reference.js';
import { uploadImages } from './image-upload.js';
import { addNames } from './images.js';
import type { ControlContext } from './ports.js';

/**
 * Loads an archive into the cluster: one node reads it, the names are written in one transaction for each image, and
 * the call returns when two ready nodes hold every image, or one where there is one.
 *
 * @param progress one line for people each
 * @throws ClusterError what the node's image store found wrong with the archive, or `unavailable` when there is no node
 */
export async function loadImages(
  context: ControlContext,
  archive: Upload,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<readonly Image[]> {
  const { connection } = archive;
  const kind = { $case: 'imageLoad', value: { quiet: false, lends: connection !== undefined } } as const;
  const images = await uploadImages(context, kind, archive, progress, signal, connection);
  if (images.length === 0) throw invalid('the archive holds no image');
  for (const image of images) {
    const names = image.names.map(normalizeName);
    await context.store.update((tx) => addNames(tx, image, names));
  }
  for (const image of images) {
    for (const name of image.names) progress(`Loaded image: ${familiarName(normalizeName(name))}`);
    if (image.names.length === 0) progress(`Loaded image ID: ${image.configDigest}`);
  }
  for (const image of images) await awaitCopies(context, image, progress, signal);
  for (const image of images) await tellOfImage(context, 'load', image);
  return images;
}
