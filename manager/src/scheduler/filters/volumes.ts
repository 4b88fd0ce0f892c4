import type { Mount } from '@tessera/shared/model';
import { isNodesOwn, nodeOfVolume } from '../../loops/volumes.js';
import type { View } from '../../store/view.js';
import { type Check, type Filter, onNodes } from './filter.js';

/** The node has the volumes that a container mounts, as far as they are anywhere yet. */
export const volumeFilter: Filter = {
  name: 'volumes',
  isDynamic: false,
  forTask: (_task, spec, { view }) =>
    (spec.container?.mounts ?? []).flatMap((mount) => {
      const nodeIds = nodesOf(view, mount);
      return nodeIds.size > 0 ? [check(mount.source, nodeIds)] : [];
    }),
};

const check = (name: string, nodeIds: ReadonlySet<string>): Check => ({
  accepts: ({ node }) => nodeIds.has(node.id),
  explain: (nodeCount) => `volume ${name} is not ${onNodes(nodeCount)}`,
});

/** Nodes that have it; none: it may be made anywhere. A service's volumes are each node's own. */
function nodesOf(view: View, { source, volumeMount }: Mount): ReadonlySet<string> {
  const volume = view.volumes.get(volumeMount?.id ?? '');
  if (!volume) return new Set();
  const nodeId = nodeOfVolume(view, volume);
  if (nodeId !== '') return new Set([nodeId]);
  // Where services' tasks have left one of that name, that is the one that is meant.
  const own = [...view.volumeStates.all()].filter(
    (state) => state.name === source && isNodesOwn(view, state),
  );
  return new Set(own.filter(({ volumeId }) => volumeId === '').map((state) => state.nodeId));
}
