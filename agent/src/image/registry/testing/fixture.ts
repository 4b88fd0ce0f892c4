import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import type { Image } from '@tessera/shared/model';
import { parsePlatform } from '@tessera/shared/platform';
import type { LocalImageStore } from '../../local-image-store.js';
import { type ArchiveOptions, type ImageContent, makeArchive, makeLayer } from '../../testing/index.js';
import { inPieces, StoreFixture } from '../../testing/store-fixture.js';
import { NO_AUTH, type ProgressMessage, Registries, type RegistryAuth } from '../index.js';
import type { RegistriesOptions } from '../registries.js';

/** Waits between attempts shrink to nothing; what bounds a silence stays. */
export const impatientClock: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs < 5_000 ? delayMs / 50 : delayMs, callback),
};

export interface PullOptions {
  readonly auth?: RegistryAuth;
  readonly platform?: string;
  readonly signal?: AbortSignal;
  readonly heard?: (message: ProgressMessage) => void;
}

/** A host's images and its way to registries. */
export class RegistryFixture {
  readonly stores = new StoreFixture();
  readonly certsDirectory = mkdtempSync(join(tmpdir(), 'tessera-certs-'));

  registries(options: Partial<RegistriesOptions> = {}): Registries {
    return new Registries({
      clock: impatientClock,
      random: systemRandom,
      logger: silentLogger,
      settings: { insecureRegistries: [], mirrors: [], certsDirectory: this.certsDirectory },
      ...options,
    });
  }

  async pull(
    registries: Registries,
    store: LocalImageStore,
    reference: string,
    { auth = NO_AUTH, platform = '', signal = new AbortController().signal, heard }: PullOptions = {},
  ): Promise<{ readonly image: Image; readonly said: readonly ProgressMessage[] }> {
    const said: ProgressMessage[] = [];
    const request = { reference, auth, platform: parsePlatform(platform) };
    const image = await store.bring((into) =>
      registries.puller.pull(
        request,
        into,
        (message) => {
          said.push(message);
          heard?.(message);
        },
        signal,
      ),
    );
    return { image, said };
  }

  async push(
    registries: Registries,
    store: LocalImageStore,
    image: Image,
    name: string,
    options: { auth?: RegistryAuth; mounts?: ReadonlyMap<string, string> } = {},
  ): Promise<readonly ProgressMessage[]> {
    const said: ProgressMessage[] = [];
    await registries.pusher.push(
      { image, name, auth: options.auth ?? NO_AUTH, mounts: options.mounts ?? new Map() },
      store.blobs,
      (message) => said.push(message),
      new AbortController().signal,
    );
    return said;
  }

  async load(store: LocalImageStore, content: ImageContent, options?: ArchiveOptions): Promise<Image> {
    const archive = inPieces(await makeArchive([content], options));
    const [image] = await store.load(archive, () => {}, new AbortController().signal);
    return image!;
  }

  remove(): void {
    this.stores.remove();
    rmSync(this.certsDirectory, { recursive: true, force: true });
  }
}

/** An image of one file in each layer, whose content is `sizeBytes` of bytes that no compression makes smaller. */
export async function imageOf(name: string, sizes: readonly number[]): Promise<ImageContent> {
  const layers = sizes.map((sizeBytes, index) =>
    makeLayer([{ name: `${name}-${index}`, content: systemRandom.bytes(sizeBytes) }]),
  );
  return { names: [name], layers: await Promise.all(layers) };
}
