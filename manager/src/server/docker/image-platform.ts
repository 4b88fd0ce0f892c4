import { ClusterError, invalid } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import { platformText } from '@tessera/shared/platform';
import { z } from 'zod';
import { imageConfig } from './image-json.js';

const platformSchema = z.object({
  os: z.string().default(''),
  architecture: z.string().default(''),
  variant: z.string().default(''),
});

/**
 * Sees to it that an image is of the platform that a query asks for: an image here is of one alone.
 *
 * @param reference as the user wrote it
 * @throws ClusterError `notFound` in Docker's words, `invalidArgument` for what is no platform
 */
export function requirePlatform(image: Image, reference: string, query: URLSearchParams): void {
  for (const name of ['platform', 'platforms']) {
    for (const text of query.getAll(name)) {
      if (text !== '' && !isOf(image, parsed(name, text)))
        throw new ClusterError(
          'notFound',
          `image with reference ${reference} was found but does not provide the specified platform (${platformText(parsed(name, text))})`,
        );
    }
  }
}

function parsed(name: string, text: string) {
  try {
    return platformSchema.parse(JSON.parse(text));
  } catch {
    throw invalid(`${name}: '${text}' is no platform: write {"os":"linux","architecture":"amd64"}`);
  }
}

function isOf(image: Image, wanted: z.output<typeof platformSchema>): boolean {
  const { os = 'linux', architecture = '', variant = '' } = imageConfig(image);
  const fits = (want: string, have: string) => want === '' || have === '' || want === have;
  return fits(wanted.os, os) && fits(wanted.architecture, architecture) && fits(wanted.variant, variant);
}
