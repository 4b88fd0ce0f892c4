import type { TaskSpec } from '@tessera/shared/model';
import { architectureNames, meetsConstraints, parseConstraints } from '../../constraints/index.js';
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

/** The image is made for the node's system and processor. */
export const platformFilter: Filter = {
  name: 'platform',
  isDynamic: false,
  forTask: (_task, spec, { view }) => {
    const platform = platformOf(view, spec);
    if (!platform) return [];
    const architectures = new Set(architectureNames(platform.architecture));
    const accepts = ({ status }: NodeEntry) => {
      const description = status?.description;
      // A node that has not said what it is turns nothing down.
      if (!description?.architecture) return true;
      return (
        (!description.os || description.os === platform.os) && architectures.has(description.architecture)
      );
    };
    return [{ accepts, explain: (nodeCount) => `unsupported platform ${onNodes(nodeCount)}` }];
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

interface Platform {
  readonly os: string;
  readonly architecture: string;
}

/** What the image's own configuration says; undefined when the cluster does not hold the image, or it is silent. */
function platformOf(view: View, spec: TaskSpec): Platform | undefined {
  const container = spec.container;
  const image = container?.imageDigest
    ? view.images.get(container.imageDigest)
    : container && view.images.byName(container.image);
  if (!image || image.config.length === 0) return undefined;
  try {
    const { os, architecture } = JSON.parse(Buffer.from(image.config).toString()) as Partial<Platform>;
    return typeof architecture === 'string' && architecture !== ''
      ? { os: typeof os === 'string' && os !== '' ? os : 'linux', architecture }
      : undefined;
  } catch {
    // Not ours to judge: the node that unpacks it will say what is wrong with it.
    return undefined;
  }
}
