import type { View } from '../../store/view.js';
import { type Check, type Filter, onNodes } from './filter.js';

/** The node has the containers whose namespaces, volumes or names this one uses. */
export const coLocationFilter: Filter = {
  name: 'co-location',
  isDynamic: false,
  forTask: (_task, spec, { view }) =>
    (spec.placement?.coLocatedWith ?? []).map((containerId) => besides(view, containerId)),
};

function besides(view: View, containerId: string): Check {
  const nodeId = view.containerPlacements.get(containerId)?.nodeId ?? '';
  const name = view.containers.get(containerId)?.name ?? containerId.slice(0, 12);
  return {
    accepts: ({ node }) => nodeId !== '' && node.id === nodeId,
    explain: (nodeCount) => `container ${name} is not ${onNodes(nodeCount)}`,
  };
}
