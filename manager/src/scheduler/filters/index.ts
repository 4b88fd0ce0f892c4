import type { TaskSpec } from '@tessera/shared/model';
import { platformOfConfig } from '@tessera/shared/platform';
import {
  meetsConstraints,
  parseConstraints,
  runsOneOf,
  type WantedPlatform,
} from '../../constraints/index.js';
import type { View } from '../../store/view.js';
import type { NodeEntry } from '../node-set.js';
import { apiSocketFilter } from './api-socket.js';
import { coLocationFilter } from './co-location.js';
import { expressionFilter } from './expressions.js';
import { type Filter, onNodes } from './filter.js';
import { hostPortFilter } from './host-ports.js';
import { volumeFilter } from './volumes.js';

export { wishesOf } from './expressions.js';
export type { Check, Filter, FilterContext } from './filter.js';

// The texts are Swarm's, so that what users know to look for is found here too.
// Source: swarmkit manager/scheduler/filter.go

/** The node is there, and the user has not paused or drained it. */
export const readyFilter: Filter = {
  name: 'ready',
  isDynamic: false,
  forTask: () => [
    {
      accepts: ({ node, status }) => status?.state === 'ready' && node.availability === 'active',
      explain: (nodeCount) =>
        nodeCount === 1
          ? '1 node not available for new tasks'
          : `${nodeCount} nodes not available for new tasks`,
    },
  ],
};

/** The node has enough CPU, memory and pids left for what the task reserves. */
export const resourceFilter: Filter = {
  name: 'resources',
  isDynamic: true,
  forTask: (_task, spec, { nodes }) => {
    const reservations = spec.resources?.reservations;
    if (!reservations) return [];
    const { nanoCpus, memoryBytes, pids } = reservations;
    if (nanoCpus <= 0 && memoryBytes <= 0 && pids <= 0) return [];
    // What is not reserved is not asked for: a node that is over-full in memory may still have CPU to give.
    const accepts = (entry: NodeEntry) =>
      (nanoCpus <= 0 || nanoCpus <= nodes.freeNanoCpus(entry)) &&
      (memoryBytes <= 0 || memoryBytes <= nodes.freeMemoryBytes(entry)) &&
      (pids <= 0 || pids <= nodes.freePids(entry));
    return [{ accepts, explain: (nodeCount) => `insufficient resources ${onNodes(nodeCount)}` }];
  },
};

/** The node meets the user's constraints. */
export const constraintFilter: Filter = {
  name: 'constraints',
  isDynamic: false,
  forTask: (_task, spec) => {
    const expressions = spec.placement?.constraints ?? [];
    if (expressions.length === 0) return [];
    const constraints = parseConstraints(expressions);
    return [
      {
        accepts: ({ node, status }) => meetsConstraints(constraints, node, status),
        explain: (nodeCount) => `scheduling constraints not satisfied ${onNodes(nodeCount)}`,
      },
    ];
  },
};

/** The node's system and processor are what the image is made for, and among those that the user names. */
export const platformFilter: Filter = {
  name: 'platform',
  isDynamic: false,
  forTask: (_task, spec, { view }) => {
    const ofImage = platformOf(view, spec);
    const named = spec.placement?.platforms ?? [];
    if (!ofImage && named.length === 0) return [];
    return [
      {
        accepts: ({ status }) => runsOneOf(ofImage ? [ofImage] : [], status) && runsOneOf(named, status),
        explain: (nodeCount) => `unsupported platform ${onNodes(nodeCount)}`,
      },
    ];
  },
};

/** The node has fewer of the service's tasks than its limit. */
export const maxReplicasFilter: Filter = {
  name: 'max-replicas',
  isDynamic: true,
  forTask: (task, spec, { nodes }) => {
    const limit = spec.placement?.maxReplicasPerNode ?? 0;
    if (limit === 0) return [];
    return [
      {
        accepts: (entry) => nodes.taskCountOf(task.serviceId, entry) < limit,
        explain: () => 'max replicas per node limit exceed',
      },
    ];
  },
};

/** In the order they are asked: a node is counted under the first that turns it down. */
export const FILTERS: readonly Filter[] = [
  readyFilter,
  resourceFilter,
  constraintFilter,
  platformFilter,
  maxReplicasFilter,
  coLocationFilter,
  expressionFilter,
  hostPortFilter,
  volumeFilter,
  apiSocketFilter,
];

/** What the image's own configuration says; undefined when the cluster does not hold the image, or it is silent. */
function platformOf(view: View, spec: TaskSpec): WantedPlatform | undefined {
  const container = spec.container;
  const image = container?.imageDigest
    ? view.images.get(container.imageDigest)
    : container && view.images.byName(container.image);
  return image && platformOfConfig(image.config);
}
