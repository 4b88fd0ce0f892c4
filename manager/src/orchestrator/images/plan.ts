import type { Image, NodeStatus } from '@tessera/shared/model';
import type { View } from '../../store/view.js';

/** How many nodes hold an image that no registry can give again; fewer only where there are fewer. */
const HOLDERS_WANTED = 2;

/**
 * The nodes that are to hold an image, in order of id. Those that are meant to already stay; then come nodes that
 * hold it, then those that were given the fewest.
 *
 * @param load how many images each node is meant to hold already
 */
export function planHolders(view: View, image: Image, load: ReadonlyMap<string, number>): string[] {
  // Its registry gives it again.
  if (image.repoDigests.length > 0) return [];
  const present = [...view.nodes.all()];
  const statusOf = (id: string): NodeStatus | undefined => view.nodeStatuses.get(id);
  const holds = (id: string): boolean => statusOf(id)?.imageDigests.includes(image.id) ?? false;

  const before = view.imagePlacements.get(image.id)?.nodeIds ?? [];
  // A node away for a moment keeps its copy; one that is down may have lost it.
  const kept = before.filter((id) => view.nodes.get(id) && isStaying(statusOf(id))).slice(0, HOLDERS_WANTED);
  const candidates = present
    .filter(({ id }) => !kept.includes(id) && statusOf(id)?.state === 'ready')
    .sort(
      (a, b) =>
        Number(holds(b.id)) - Number(holds(a.id)) ||
        Number(b.availability === 'active') - Number(a.availability === 'active') ||
        (load.get(a.id) ?? 0) - (load.get(b.id) ?? 0) ||
        (a.id < b.id ? -1 : 1),
    );
  return [...kept, ...candidates.map(({ id }) => id)].slice(0, HOLDERS_WANTED).sort();
}

function isStaying(status: NodeStatus | undefined): boolean {
  return status?.state === 'ready' || status?.state === 'restarting' || status?.state === 'disconnected';
}
