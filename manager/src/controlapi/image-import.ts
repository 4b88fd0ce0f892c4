import { invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import { parsePlatform } from '@tessera/shared/platform';
import { tellOfImage } from './events/index.js';
import { applyImageChanges } from './image-changes/index.js';
import { awaitCopies } from './image-copies.js';
import { normalizeName } from './image-reference.js';
import { uploadImages } from './image-upload.js';
import { addNames } from './images.js';
import type { ControlContext } from './ports.js';

export interface ImageImport {
  /** What it is to be called; empty: it gets no name. */
  readonly name: string;
  /** Instructions of a Dockerfile. */
  readonly changes: readonly string[];
  readonly message: string;
  /** OS/ARCH[/VARIANT]; empty: this host's. */
  readonly platform: string;
}

/**
 * Makes an image of a tar of files. Returns when two ready nodes hold it, or one where there is one.
 *
 * @param progress one line for people each
 * @throws ClusterError `invalidArgument` before anything of the content is read, or for a bad tar
 */
export async function importImage(
  context: ControlContext,
  wanted: ImageImport,
  content: AsyncIterable<Uint8Array>,
  progress: (line: string) => void,
  signal: AbortSignal,
): Promise<Image> {
  const names = wanted.name === '' ? [] : [normalizeName(wanted.name)];
  const nowMs = context.clock.now();
  const config = Buffer.from(JSON.stringify(configOf(wanted, new Date(nowMs).toISOString())));
  const kind = { $case: 'imageImport', value: { config, names } } as const;
  const [image] = await uploadImages(context, kind, content, progress, signal);
  if (!image) throw invalid('the archive holds no image');
  const tagged = { ...image, lastTaggedAtMs: names.length > 0 ? nowMs : 0 };
  await context.store.update((tx) => addNames(tx, tagged, names));
  await awaitCopies(context, image, progress, signal);
  await tellOfImage(context, 'import', image);
  return image;
}

/** Source: moby daemon/images/image_import.go; OCI image spec, config.md. */
function configOf({ changes, message, platform }: ImageImport, created: string): object {
  const { os, architecture, variant } = parsePlatform(platform);
  if (os !== 'linux')
    throw invalid(`platform: operating system '${os}' is not supported; the nodes are linux`);
  return {
    created,
    architecture,
    ...(variant ? { variant } : {}),
    os,
    comment: message,
    config: applyImageChanges({}, changes),
    history: [{ created, comment: message }],
  };
}
