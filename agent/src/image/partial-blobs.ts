import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { hexOf } from '@tessera/shared/digest';
import type { Clock } from '@tessera/shared/env';

/** What is less is sooner fetched again than looked after. */
export const PARTIAL_BYTES_MIN = 1024 * 1024;
/** Whoever wants the rest comes back within it. */
const KEPT_MS = 24 * 3600 * 1000;
/** The newest ones: what broke off must not fill the disk. */
const KEPT_MAX = 16;

/**
 * What has come of blobs that are not whole yet, each in a file named by the digest that it is to have. They outlive the
 * agent: the next attempt goes on where this one stood, and the digest of the whole tells whether that was right.
 */
export class PartialBlobs {
  readonly #taken = new Set<string>();

  constructor(
    private readonly directory: string,
    private readonly clock: Clock,
  ) {}

  async open(): Promise<void> {
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    await this.sweep();
  }

  /** The file of a blob, for one at a time; undefined while somebody else has it. It is to be given back. */
  take(digest: string): string | undefined {
    if (this.#taken.has(digest)) return undefined;
    this.#taken.add(digest);
    return join(this.directory, hexOf(digest));
  }

  /** Whoever took the file has left it, moved it or removed it. */
  giveBack(digest: string): void {
    this.#taken.delete(digest);
  }

  /** Removes what nobody came back for. */
  async sweep(): Promise<void> {
    const names = (await readdir(this.directory)).filter((name) => !this.#taken.has(`sha256:${name}`));
    const aged = await Promise.all(
      names.map(async (name) => ({ name, atMs: (await stat(join(this.directory, name))).mtimeMs })),
    );
    const newest = aged
      .filter(({ atMs }) => this.clock.now() - atMs < KEPT_MS)
      .sort((a, b) => b.atMs - a.atMs)
      .slice(0, KEPT_MAX);
    const kept = new Set(newest.map(({ name }) => name));
    for (const name of names)
      if (!kept.has(name)) await rm(join(this.directory, name), { recursive: true, force: true });
  }
}
