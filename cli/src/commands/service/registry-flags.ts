import type { Command } from 'commander';
import type { Cli } from '../../cli.js';
import { ApiError } from '../../cli-error.js';
import { registryAuth } from '../../client/docker-credentials.js';
import type { SpecDraft } from './spec-draft.js';

interface Flags {
  readonly withRegistryAuth: boolean;
  readonly resolveImage: boolean;
}

interface Distribution {
  readonly Descriptor: { readonly digest: string };
  readonly Platforms?: readonly { readonly architecture?: string; readonly os?: string }[] | null;
}

export function addRegistryFlags(command: Command): void {
  command
    .option('--with-registry-auth', "send the registry's credentials along for the nodes to pull with", false)
    .option('--no-resolve-image', 'do not ask the registry which digest the image has now');
}

/**
 * Pins the container's image to the digest its name has now, and its tasks to the platforms that there are of it, as
 * docker's client does. What the registry does not tell is left to the cluster, which knows its own images.
 *
 * @returns the credentials to send along, if they were asked for
 */
export async function pinImage(
  cli: Cli,
  draft: SpecDraft,
  { withRegistryAuth, resolveImage }: Flags,
): Promise<string | undefined> {
  const image = draft.container.Image ?? '';
  const auth = withRegistryAuth ? await registryAuth(cli.config, image) : undefined;
  if (!resolveImage || image === '' || image.includes('@')) return auth;
  try {
    const { Descriptor, Platforms } = await cli.api.call<Distribution>('GET', `/distribution/${image}/json`, {
      registryAuth: auth,
    });
    draft.container.Image = `${/:[^/]*$/.test(image) ? image : `${image}:latest`}@${Descriptor.digest}`;
    if (Platforms?.length)
      draft.placement.Platforms = Platforms.map(({ architecture, os }) => ({
        // Images say `arm`, and nodes which of them: docker's client leaves it out as well.
        ...(architecture && architecture.toLowerCase() !== 'arm' ? { Architecture: architecture } : {}),
        ...(os ? { OS: os } : {}),
      }));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
  return auth;
}
