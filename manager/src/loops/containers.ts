import {
  type Container,
  type ContainerPlacement,
  ContainerPlacement as Placement,
  Task,
} from '@tessera/shared/model';
import type { View } from '../store/view.js';

// What the loops say of containers again and again, said once.

/** Under this prefix the scheduler's account names containers beside its tasks, and claims name their owners. */
const PREFIX = 'container/';

export const containerOwner = (containerId: string): string => PREFIX + containerId;

/** The container that an id of the scheduler's account names; undefined: it names a task. */
export const containerOf = (id: string): string | undefined =>
  id.startsWith(PREFIX) ? id.slice(PREFIX.length) : undefined;

/** A placement is decided once: when it names a node, or says why there is none. */
export const isDecided = (placement: ContainerPlacement | undefined): boolean =>
  placement !== undefined && (placement.nodeId !== '' || placement.pendingReason !== '');

/** The networks it is to have a place on that are not the node's own. */
export const clusterNetworksOf = (container: Container): string[] =>
  container.networks.map(({ networkId }) => networkId);

/** The cluster's volumes that it mounts. */
export const volumeIdsOf = (container: Container): string[] => [
  ...new Set((container.spec?.mounts ?? []).flatMap(({ volumeMount }) => volumeMount?.id || [])),
];

/** It has what the allocator gives: an address on each of its cluster networks. */
export const hasAddresses = (container: Container, placement: ContainerPlacement | undefined): boolean =>
  container.networks.length === (placement?.networks.length ?? 0);

/** It waits for the allocator. */
export const needsAddresses = (container: Container, placement: ContainerPlacement | undefined): boolean =>
  !container.removing && !isDecided(placement) && !hasAddresses(container, placement);

/** It waits for the scheduler: for its first node, or for another one. */
export const needsNode = (container: Container, placement: ContainerPlacement | undefined): boolean =>
  !container.removing &&
  (!isDecided(placement) || placement?.moving === true) &&
  hasAddresses(container, placement);

export const placementOf = (view: View, containerId: string): ContainerPlacement =>
  view.containerPlacements.get(containerId) ?? Placement.fromPartial({ containerId });

/**
 * A container as the scheduler's filters and scores see it: a task of no service. It reserves what its user
 * reserved; its limits are not fit, as with Docker.
 */
export function asTask(container: Container, nodeId: string, pendingReason = ''): Task {
  return Task.fromPartial({
    id: containerOwner(container.id),
    ...(container.meta ? { meta: container.meta } : {}),
    nodeId,
    state: nodeId ? 'assigned' : 'pending',
    desiredState: 'running',
    pendingReason,
    spec: {
      ...(container.spec ? { container: container.spec } : {}),
      resources: {
        reservations: { memoryBytes: container.host?.resources?.memoryReservationBytes ?? 0 },
      },
      ...(container.placement ? { placement: container.placement } : {}),
      networks: container.networks,
    },
  });
}
