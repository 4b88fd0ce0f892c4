import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Image } from '@tessera/shared/model';
import type { LocateImageResponse } from '@tessera/shared/wire';
import { unseal } from '../seal/index.js';
import type { Store, View } from '../store/view.js';
import { isHandedOut } from './assignment-items.js';

/** Long enough for one blob to begin; a transfer under way is not cut off by it. */
const TOKEN_MS = 10 * 60_000;

export interface ImageLocatorOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Signs a token for the holders, with the key and certificate this manager has at the time. */
  readonly sign: (payload: { nodeId: string; imageId: string; expiresAtMs: number }) => string;
}

/** Says where a node may fetch an image from. */
export class ImageLocator {
  constructor(private readonly options: ImageLocatorOptions) {}

  /**
   * @throws ClusterError `permissionDenied` when nothing assigned to the node names the image, `notFound`
   *   when the cluster does not know it
   */
  async locate(nodeId: string, imageId: string): Promise<LocateImageResponse> {
    const { store, clock, sign } = this.options;
    // The node may have its assignment from another manager, and this cache be a moment behind it.
    const view = needsImage(store.view(), nodeId, imageId) ? store.view() : await store.read();
    if (!needsImage(view, nodeId, imageId))
      throw new ClusterError('permissionDenied', `no assignment of node ${nodeId} names image ${imageId}`);
    const image = view.images.get(imageId);
    if (!image) throw new ClusterError('notFound', `image ${imageId} is not known to the cluster`);
    return {
      image: { ...image, registryAuth: Buffer.alloc(0) },
      sources: sourcesOf(view, nodeId, imageId),
      token: sign({ nodeId, imageId, expiresAtMs: clock.now() + TOKEN_MS }),
      registryAuth: registryAuthFor(view, image),
    };
  }
}

function needsImage(view: View, nodeId: string, imageId: string): boolean {
  if (view.imagePlacements.get(imageId)?.nodeIds.includes(nodeId)) return true;
  const held = view.containerPlacements
    .byNode(nodeId)
    .some(({ containerId }) => view.containers.get(containerId)?.spec?.imageDigest === imageId);
  if (held) return true;
  return view.tasks
    .byNode(nodeId)
    .some((task) => isHandedOut(task) && view.specOf(task).container?.imageDigest === imageId);
}

function sourcesOf(view: View, nodeId: string, imageId: string): LocateImageResponse['sources'] {
  const sources = [];
  for (const { nodeId: holder, state, description, imageDigests } of view.nodeStatuses.all()) {
    const peerAddr = description?.peerAddr ?? '';
    if (holder !== nodeId && state === 'ready' && peerAddr && imageDigests.includes(imageId))
      sources.push({ nodeId: holder, peerAddr });
  }
  return sources;
}

/** With what the image's registry gives it: what a service that runs it was given, else what it was pulled with. */
function registryAuthFor(view: View, image: Image): string {
  if (image.repoDigests.length === 0) return '';
  for (const { id, spec, previousSpec, registryAuth, previousRegistryAuth } of view.services.all()) {
    const runs = (candidate: typeof spec) => candidate?.task?.container?.imageDigest === image.id;
    const candidates = [
      ...(runs(spec) ? [registryAuth] : []),
      ...(runs(previousSpec) ? [previousRegistryAuth, registryAuth] : []),
    ];
    const sealed = candidates.find(({ length }) => length > 0);
    const auth = sealed && unseal(view, `service/${id}`, sealed);
    if (auth) return auth;
  }
  return unseal(view, `image/${image.id}`, image.registryAuth) ?? '';
}
