import type { LoopDefinition, Outcome } from '../../loops/leader-loop.js';
import type { Change, Store, Transaction, View } from '../../store/view.js';
import { planHolders } from './plan.js';

/** Keeps every image of the cluster on two nodes. Ids are images. */
export function imagePlacementLoop(store: Store): LoopDefinition {
  return {
    name: 'image-placement',
    // One at a time: each counts what the ones before were given.
    concurrency: 1,
    ids,
    touched,
    reconcile: (id) => placeImage(store, id),
  };
}

function ids(view: View): Iterable<string> {
  const found = new Set<string>();
  for (const { id } of view.images.all()) found.add(id);
  for (const { imageId } of view.imagePlacements.all()) found.add(imageId);
  return found;
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const change of changes) {
    if (change.kind === 'images') yield change.id;
    else if (change.kind === 'nodes' || (change.kind === 'nodeStatuses' && concernsImages(change)))
      yield* ids(view);
  }
}

function concernsImages(change: Change): boolean {
  const { before, after } = change as Change<'nodeStatuses'>;
  return (
    before?.state !== after?.state ||
    before?.imageDigests.length !== after?.imageDigests.length ||
    (before?.imageDigests.some((digest) => !after?.imageDigests.includes(digest)) ?? false)
  );
}

async function placeImage(store: Store, imageId: string): Promise<Outcome> {
  const worked = await store.update((tx) => {
    const image = tx.images.get(imageId);
    const placement = tx.imagePlacements.get(imageId);
    if (!image) {
      if (placement) tx.delete('imagePlacements', imageId);
      return placement !== undefined;
    }
    const nodeIds = planHolders(tx, image, loadOf(tx, imageId));
    if (image.repoDigests.length > 0 && placement) {
      tx.require('images', imageId);
      tx.delete('imagePlacements', imageId);
      return true;
    }
    // With no node to hold it, who was meant to is the best that is known.
    if (nodeIds.length === 0 || nodeIds.join() === placement?.nodeIds.join()) return false;
    tx.require('images', imageId);
    tx.put('imagePlacements', { ...placement, imageId, nodeIds });
    return true;
  });
  return { worked };
}

function loadOf(tx: Transaction, exceptId: string): Map<string, number> {
  const load = new Map<string, number>();
  for (const { imageId, nodeIds } of tx.imagePlacements.all()) {
    if (imageId === exceptId) continue;
    for (const nodeId of nodeIds) load.set(nodeId, (load.get(nodeId) ?? 0) + 1);
  }
  return load;
}
