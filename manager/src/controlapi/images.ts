import { ClusterError } from '@tessera/shared/errors';
import { Image, isBefore } from '@tessera/shared/model';
import type { Transaction, View } from '../store/view.js';
import { familiarName, normalizeName, parseReference } from './image-reference.js';
import { getImage, taskName } from './lookup.js';
import type { ControlContext } from './ports.js';

/** What removing an image did, in the order it was done. */
export type ImageRemoval =
  | { readonly kind: 'untagged'; readonly name: string }
  | { readonly kind: 'deleted'; readonly id: string };

/** What may be asked of images. Loading one is `image-load.ts`. */
export class Images {
  readonly #context: ControlContext;

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
   * on each node as soon as its agent can be told and no task there uses it.
   *
   * @param force takes all names of an id; and does not wait for tasks that are on their way out, whose nodes keep the
   *   content until they have ended
   * @throws ClusterError `conflict` while a service or a task uses the image
   */
  async remove(reference: string, force: boolean): Promise<readonly ImageRemoval[]> {
    const { store } = this.#context;
    const view = await store.read();
    const { id, names } = getImage(view, reference);
    const name = names.find((candidate) => isName(reference, candidate));
    const { removals, removed } = await store.update((tx) =>
      planRemoval(tx, getImage(tx, id), name, force, reference),
    );
    if (!removed) return removals;

    // A service may have been created between our look and the deletion; from then on, none can be.
    const user = findUser(await store.read(), id);
    if (user && !(force && user.isEnding)) {
      await store.update((tx) => addNames(tx, removed, removed.names));
      throw inUse(reference, user);
    }
    await this.#removeContent(view, id);
    return removals;
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

/** Whether what the user wrote means this name, and not an id. */
function isName(reference: string, name: string): boolean {
  try {
    return parseReference(reference).digest === '' && normalizeName(reference) === name;
  } catch {
    return false;
  }
}

/** @param name undefined: the image as a whole, by its id */
function planRemoval(
  tx: Transaction,
  image: Image,
  name: string | undefined,
  force: boolean,
  reference: string,
): { readonly removals: readonly ImageRemoval[]; readonly removed?: Image } {
  if (name === undefined && image.names.length > 1 && !force) {
    throw new ClusterError(
      'conflict',
      `conflict: unable to delete ${reference} (must be forced) - image is referenced in multiple repositories`,
    );
  }
  const remaining = name === undefined ? [] : image.names.filter((other) => other !== name);
  const untagged = image.names.filter((other) => !remaining.includes(other));
  const repositories = new Set(remaining.map(repositoryOf));
  const digests = image.repoDigests.filter((text) => {
    const repository = text.slice(0, text.indexOf('@'));
    return !repositories.has(repository) && untagged.some((gone) => repositoryOf(gone) === repository);
  });
  // With its last tag, an image's name by digest goes as well.
  const removals: ImageRemoval[] = [...untagged, ...digests].map((gone) => ({
    kind: 'untagged',
    name: familiarName(gone),
  }));
  const user = remaining.length === 0 ? findUser(tx, image.id) : undefined;
  if (user && !(force && user.isEnding)) throw inUse(reference, user);

  for (const gone of untagged) tx.releaseClaim(`name/image/${gone}`);
  if (remaining.length > 0) {
    tx.put('images', { ...image, names: remaining });
    return { removals };
  }
  tx.delete('images', image.id);
  return { removals: [...removals, { kind: 'deleted', id: image.configDigest || image.id }], removed: image };
}

interface ImageUser {
  readonly name: string;
  /** A task that is to end, of a service that is gone: it only takes until it has. */
  readonly isEnding: boolean;
}

/** As dockerd does for running and for stopped containers. Source: moby daemon/images/image_delete.go. */
function inUse(reference: string, { name, isEnding }: ImageUser): ClusterError {
  const message = isEnding
    ? `conflict: unable to remove repository reference "${reference}" (must be forced) - image is being used by ${name}, which is shut down or about to be; wait until it is gone, or use --force`
    : `conflict: unable to remove repository reference "${reference}" (cannot be forced) - image is being used by ${name}; remove that first`;
  return new ClusterError('conflict', message);
}

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

/** A service or task that runs this image, or may run it again by a rollback. */
function findUser(tx: View, imageId: string): ImageUser | undefined {
  for (const service of tx.services.all()) {
    // One that is being removed will start nothing more; its tasks are looked at below.
    if (service.removing) continue;
    const specs = [service.spec, service.previousSpec];
    if (specs.some((spec) => spec?.task?.container?.imageDigest === imageId)) {
      return { name: `service ${service.spec?.name}`, isEnding: false };
    }
  }
  for (const { name, spec } of tx.containers.all()) {
    if (spec?.imageDigest === imageId) return { name: `container ${name}`, isEnding: false };
  }
  let ending: ImageUser | undefined;
  for (const task of tx.tasks.all()) {
    if (tx.specOf(task).container?.imageDigest !== imageId) continue;
    const service = tx.services.get(task.serviceId);
    const isEnding = !service || service.removing || isBefore('running', task.desiredState);
    const user = { name: `task ${taskName(task)}`, isEnding };
    if (!isEnding) return user;
    ending ??= user;
  }
  return ending;
}

const repositoryOf = (name: string): string => name.slice(0, name.lastIndexOf(':'));
