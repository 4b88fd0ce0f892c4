import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hexOf } from '@tessera/shared/digest';
import { Image } from '@tessera/shared/model';
import type { ScratchSpace } from './scratch-space.js';

const REMOVING = '.removing';

/** An image that is here whole. */
export interface ImageRecord {
  readonly image: Image;
  /** To go as soon as no task uses it. */
  readonly removing: boolean;
}

/**
 * Which images are here, a file for each. A record is written last and removed first: while there is one, every
 * blob of its image is here.
 */
export class ImageRecords {
  readonly #records = new Map<string, ImageRecord>();
  /** Whether some record could not be read: then nothing counts as unused. */
  damaged = false;

  constructor(
    private readonly directory: string,
    private readonly scratch: ScratchSpace,
  ) {}

  async open(): Promise<void> {
    for (const name of await readdir(this.directory)) {
      try {
        const image = Image.decode(await readFile(join(this.directory, name)));
        const removing = name.endsWith(REMOVING);
        if (name !== this.#name(image.id, removing)) throw new Error('misnamed');
        this.#records.set(image.id, { image, removing });
      } catch {
        this.damaged = true;
      }
    }
  }

  get(imageId: string): ImageRecord | undefined {
    return this.#records.get(imageId);
  }

  list(): ImageRecord[] {
    return [...this.#records.values()];
  }

  async put(image: Image): Promise<void> {
    const path = this.scratch.newPath('record');
    await writeFile(path, Image.encode(image).finish(), { mode: 0o600, flush: true });
    await rename(path, this.#path(image.id, false));
    await rm(this.#path(image.id, true), { force: true });
    this.#records.set(image.id, { image, removing: false });
  }

  async markRemoving(imageId: string): Promise<void> {
    const record = this.#records.get(imageId);
    if (!record || record.removing) return;
    await rename(this.#path(imageId, false), this.#path(imageId, true));
    this.#records.set(imageId, { ...record, removing: true });
  }

  async delete(imageId: string): Promise<void> {
    this.#records.delete(imageId);
    await rm(this.#path(imageId, false), { force: true });
    await rm(this.#path(imageId, true), { force: true });
  }

  #name(imageId: string, removing: boolean): string {
    return `${hexOf(imageId)}${removing ? REMOVING : ''}`;
  }

  #path(imageId: string, removing: boolean): string {
    return join(this.directory, this.#name(imageId, removing));
  }
}

/** Everything an image is made of, by digest. */
export const blobsOf = (image: Image): string[] => [image.id, image.configDigest, ...image.layerDigests];
