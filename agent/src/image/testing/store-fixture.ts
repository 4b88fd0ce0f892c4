import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { type ImageStoreOptions, LocalImageStore } from '../local-image-store.js';

export const inPieces = async function* (bytes: Uint8Array, pieceBytes = 60_000): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
};

/** A directory for image stores, and what lies in it. */
export class StoreFixture {
  readonly directory = mkdtempSync(join(tmpdir(), 'tessera-images-'));

  /** The store of `name`, opened as at an agent's start. */
  open(name = 'images', options: Partial<ImageStoreOptions> = {}): Promise<LocalImageStore> {
    return LocalImageStore.open({
      directory: join(this.directory, name),
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      ...options,
    });
  }

  /** How much there is of each thing. */
  count(name = 'images') {
    const list = (part: string) => readdirSync(join(this.directory, name, part)).length;
    return {
      blobs: list('blobs/sha256'),
      snapshots: list('snapshots'),
      links: list('l'),
      records: list('records'),
      unfinished: list('tmp'),
    };
  }

  /** Files of blobs that broke off, and how much has come of each. */
  partials(name = 'images'): { readonly path: string; readonly bytes: number }[] {
    const directory = join(this.directory, name, 'partial');
    return readdirSync(directory).map((file) => {
      const path = join(directory, file);
      return { path, bytes: statSync(path).size };
    });
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export const NOTHING = { blobs: 0, snapshots: 0, links: 0, records: 0, unfinished: 0 };
