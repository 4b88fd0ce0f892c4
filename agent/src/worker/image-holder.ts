import type { Clock, Logger } from '@tessera/shared/env';
import { ReconcileLoop } from '@tessera/shared/reconcile';
import type { ImageStore } from '../image/image-store.js';

/** Fetches share the link to the peers; two at a time keep it busy. */
const FETCHES_AT_ONCE = 2;

/** Keeps the images on this host that the cluster wants it to hold, whether a task here needs them or not. */
export class ImageHolder {
  readonly #held = new Set<string>();
  readonly #loop: ReconcileLoop;
  #wanted: ReadonlySet<string> = new Set();

  constructor(
    private readonly images: Pick<ImageStore, 'ensure' | 'release'>,
    private readonly options: {
      readonly clock: Clock;
      readonly logger: Logger;
      readonly signal: AbortSignal;
    },
  ) {
    this.#loop = new ReconcileLoop({ reconcile: (imageId) => this.#reconcile(imageId) }, options.clock, {
      concurrency: FETCHES_AT_ONCE,
      retryMinMs: 1_000,
      retryMaxMs: 60_000,
      signal: options.signal,
      onError: (imageId, error) =>
        options.logger.warn({ error, 'image.id': imageId }, 'image to hold is not here yet; trying again'),
    });
  }

  want(imageIds: ReadonlySet<string>): void {
    const before = this.#wanted;
    this.#wanted = imageIds;
    // One that was wanted before is on its way, or waits for its next try: asking for it again is no reason to hurry.
    for (const imageId of imageIds)
      if (!this.#held.has(imageId) && !before.has(imageId)) this.#loop.mark(imageId);
    for (const imageId of this.#held) if (!imageIds.has(imageId)) this.#loop.mark(imageId);
  }

  async #reconcile(imageId: string): Promise<void> {
    const owner = `hold/${imageId}`;
    if (this.#wanted.has(imageId)) {
      await this.images.ensure(imageId, owner, this.options.signal);
      this.#held.add(imageId);
    } else {
      await this.images.release(owner);
      this.#held.delete(imageId);
    }
    // What is wanted may have changed while we worked.
    if (this.#wanted.has(imageId) !== this.#held.has(imageId)) this.#loop.mark(imageId);
  }
}
