import type { Image } from '@tessera/shared/model';
import { parsePlatform, platformJson } from '@tessera/shared/platform';
import type { ImagePullRequest, ImagePushRequest, RegistryRequest } from '@tessera/shared/wire';
import type { BlobStore } from '../blob-store.js';
import type { Progress } from './progress.js';
import type { ImageIntake } from './puller.js';
import type { Registries } from './registries.js';
import { parseRegistryAuth } from './registry-auth.js';

/** What may be asked of this host's way to registries, in the words of the wire. */
export interface RegistryImages {
  /** @throws ClusterError in Docker's words */
  pull(request: ImagePullRequest, progress: Progress, signal: AbortSignal): Promise<Image>;
  push(request: ImagePushRequest, progress: Progress, signal: AbortSignal): Promise<void>;
  /** The answer's JSON: a distribution's description, what a login gave, or a repository's tags. */
  ask(request: RegistryRequest, signal: AbortSignal): Promise<object>;
}

/** Where pulled images go, and pushed ones come from. */
export interface RegistryTarget {
  readonly blobs: BlobStore;
  bring(work: (into: ImageIntake) => Promise<Image>): Promise<Image>;
}

/** The registries as side streams ask for them. */
export class HostRegistries implements RegistryImages {
  constructor(
    private readonly registries: Registries,
    private readonly images: RegistryTarget,
  ) {}

  async pull(wanted: ImagePullRequest, progress: Progress, signal: AbortSignal): Promise<Image> {
    const { puller } = this.registries;
    const request = {
      reference: wanted.reference,
      platform: parsePlatform(wanted.platform),
      auth: parseRegistryAuth(wanted.registryAuth),
    };
    if (wanted.describeOnly) return puller.look(request, signal);
    return this.images.bring((into) => puller.pull(request, into, progress, signal));
  }

  async push(wanted: ImagePushRequest, progress: Progress, signal: AbortSignal): Promise<void> {
    const { image, name, registryAuth } = wanted;
    const mounts = new Map(wanted.mounts.map(({ digest, repository }) => [digest, repository]));
    const request = { image: image!, name, auth: parseRegistryAuth(registryAuth), mounts };
    await this.registries.pusher.push(request, this.images.blobs, progress, signal);
  }

  async ask({ kind, target, registryAuth }: RegistryRequest, signal: AbortSignal): Promise<object> {
    const auth = parseRegistryAuth(registryAuth);
    if (kind === 'login') return { IdentityToken: await this.registries.login(target, auth, signal) };
    if (kind === 'tags') return { Tags: await this.registries.puller.tags(target, auth, signal) };
    const { mediaType, digest, size, platforms } = await this.registries.puller.describe(
      target,
      auth,
      signal,
    );
    return { Descriptor: { mediaType, digest, size }, Platforms: platforms.map(platformJson) };
  }
}
