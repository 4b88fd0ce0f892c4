import { ClusterError } from '@tessera/shared/errors';
import { Image } from '@tessera/shared/model';
import type { Transaction, View } from '../store/view.js';
import { normalizeName } from './image-reference.js';
import { type ImageRemoval, isNeeded, type RemovalOptions, removeImage } from './image-removal.js';
import { usersOf } from './image-users.js';
import { getImage } from './lookup.js';
import type { ControlContext } from './ports.js';

/** What may be asked of images. Loading one is `image-load.ts`. */
export class Images {
  readonly #context: ControlContext;
  #isPruning = false;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  async list(): Promise<{ readonly view: View; readonly images: readonly Image[] }> {
    const view = await this.#context.store.read();
    return { view, images: [...view.images.all()] };
  }

  async inspect(reference: string): Promise<{ readonly view: View; readonly image: Image }> {
    const view = await this.#context.store.read();
    return { view, image: getImage(view, reference) };
  }

  /** Gives an image another name; a name that meant another image moves. */
  async tag(reference: string, name: string): Promise<void> {
    const target = normalizeName(name);
    const { store, clock } = this.#context;
    const { id } = getImage(await store.read(), reference);
    await store.update((tx) => {
      addNames(tx, { ...getImage(tx, id), lastTaggedAtMs: clock.now() }, [target]);
    });
  }

  /**
   * Takes a name away, or the whole image when it was the last one or an id was given. The name goes now, the content
   * on each node as soon as its agent can be told and nothing there uses it.
   *
   * @throws ClusterError `conflict` while the image is used
   */
  async remove(reference: string, options: RemovalOptions): Promise<readonly ImageRemoval[]> {
    const { store } = this.#context;
    const view = await store.read();
    const { id } = getImage(view, reference);
    const { removals, removed } = await store.update((tx) =>
      removeImage(tx, getImage(tx, id), reference, options),
    );
    await this.#keepUsed(removed, reference, options);
    for (const image of removed) await this.#removeContent(view, image.id);
    return removals;
  }

  /**
   * Removes every image that `matches` and that nothing uses, with all its names.
   *
   * @throws ClusterError `conflict` while another prune goes on here
   */
  async prune(matches: (image: Image, view: View) => boolean): Promise<readonly ImageRemoval[]> {
    if (this.#isPruning) throw new ClusterError('conflict', 'a prune operation is already running');
    this.#isPruning = true;
    try {
      const view = await this.#context.store.read();
      const removals: ImageRemoval[] = [];
      for (const image of view.images.all()) {
        if (!matches(image, view) || isNeeded(view, image)) continue;
        try {
          removals.push(...(await this.remove(image.id, { force: true, prune: true })));
        } catch (error) {
          // Used by now, or gone with another: neither is anything to prune.
          if (!(error instanceof ClusterError) || !['conflict', 'notFound'].includes(error.kind)) throw error;
        }
      }
      return removals;
    } finally {
      this.#isPruning = false;
    }
  }

  /** A service may have been created between our look and the deletion; from then on, none can be. */
  async #keepUsed(removed: readonly Image[], reference: string, { force }: RemovalOptions): Promise<void> {
    const { store } = this.#context;
    const view = await store.read();
    for (const image of removed) {
      const user = usersOf(view, image.id).find(({ kind }) => kind === 'service' || !force);
      if (!user) continue;
      await store.update((tx) => {
        for (const each of removed) addNames(tx, each, each.names);
      });
      throw new ClusterError(
        'conflict',
        `conflict: unable to remove "${reference}" (cannot be forced) - image has just come to be used`,
      );
    }
  }

  /**
   * Tells every node that holds the image to drop it. A node that cannot be told keeps the content until its agent
   * learns that the image is no more.
   */
  async #removeContent(view: View, imageId: string): Promise<void> {
    const { streams, logger, clock } = this.#context;
    const holders = [...view.nodeStatuses.all()].filter(
      (status) => status.state === 'ready' && status.imageDigests.includes(imageId),
    );
    const deadline = new AbortController();
    const cancel = clock.after(REMOVAL_TIMEOUT_MS, () => deadline.abort(new Error('timed out')));
    await Promise.all(
      holders.map(async ({ nodeId }) => {
        try {
          const stream = await streams.requestStream(
            nodeId,
            { $case: 'imageRemove', value: { imageId } },
            deadline.signal,
          );
          for await (const _ of stream.frames) void _;
          stream.close();
        } catch (error) {
          logger.warn({ 'node.id': nodeId, imageId, error }, 'a node keeps the content of a removed image');
        }
      }),
    );
    cancel();
  }
}

const REMOVAL_TIMEOUT_MS = 10_000;

/**
 * Points names at an image, away from whatever they meant before. Must run in a transaction: a name belongs to exactly
 * one image at every revision.
 */
export function addNames(tx: Transaction, image: Image, names: readonly string[]): void {
  for (const name of names) {
    const owner = tx.claim(`name/image/${name}`);
    const before = owner?.startsWith('image/') ? tx.images.get(owner.slice('image/'.length)) : undefined;
    if (before?.id === image.id) continue;
    if (before) tx.put('images', { ...before, names: before.names.filter((other) => other !== name) });
    if (owner !== undefined) tx.releaseClaim(`name/image/${name}`);
    tx.takeClaim(`name/image/${name}`, `image/${image.id}`);
  }
  const known = tx.images.get(image.id);
  tx.put('images', {
    ...Image.fromPartial(image),
    names: [...new Set([...(known?.names ?? []), ...names])].sort(),
    repoDigests: [...new Set([...image.repoDigests, ...(known?.repoDigests ?? [])])],
    // One that is only described now may have been unpacked before.
    ...(image.layerBytes.length === 0 && known
      ? { layerBytes: known.layerBytes, sizeBytes: known.sizeBytes }
      : {}),
    lastTaggedAtMs: Math.max(image.lastTaggedAtMs, known?.lastTaggedAtMs ?? 0),
    parentId: image.parentId || (known?.parentId ?? ''),
    registryAuth:
      image.registryAuth.length > 0 ? image.registryAuth : (known?.registryAuth ?? Buffer.alloc(0)),
  });
}
