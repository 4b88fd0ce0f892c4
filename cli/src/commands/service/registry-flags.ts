import type { Command } from 'commander';
import type { Cli } from '../../cli.js';
import { ApiError } from '../../cli-error.js';
import { registryAuth } from '../../client/docker-credentials.js';

interface Flags {
  readonly withRegistryAuth: boolean;
  readonly resolveImage: boolean;
}

export function addRegistryFlags(command: Command): void {
  command
    .option('--with-registry-auth', "send the registry's credentials along for the nodes to pull with", false)
    .option('--no-resolve-image', 'do not ask the registry which digest the image has now');
}

/**
 * Pins the container's image to the digest its name has now, as docker's client does. What the registry does not tell
 * is left to the cluster, which knows its own images.
 *
 * @returns the credentials to send along, if they were asked for
 */
export async function pinImage(
  cli: Cli,
  container: { Image?: string },
  { withRegistryAuth, resolveImage }: Flags,
): Promise<string | undefined> {
  const image = container.Image ?? '';
  const auth = withRegistryAuth ? await registryAuth(cli.config, image) : undefined;
  if (!resolveImage || image === '' || image.includes('@')) return auth;
  try {
    const { Descriptor } = await cli.api.call<{ Descriptor: { digest: string } }>(
      'GET',
      `/distribution/${image}/json`,
      { registryAuth: auth },
    );
    container.Image = `${/:[^/]*$/.test(image) ? image : `${image}:latest`}@${Descriptor.digest}`;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  return auth;
}
