import { isTerminal, type Mount, observedState, type Volume, type VolumeState } from '@tessera/shared/model';
import { volumeStateId } from '../store/kinds.js';
import type { View } from '../store/view.js';

// What loops and the API say of volumes again and again, said once.

export const volumeOwner = (volumeId: string): string => `volume/${volumeId}`;
export const volumeClaim = (name: string): string => `name/volume/${name}`;

/** The node a volume is on, or is to be removed from; empty: no container has used it yet. */
export const nodeOfVolume = (view: View, { id, nodeId }: Volume): string =>
  nodeId || (view.volumePlacements.get(id)?.nodeId ?? '');

/** What its node says of a volume. */
export function stateOfVolume(view: View, volume: Volume): VolumeState | undefined {
  const nodeId = nodeOfVolume(view, volume);
  const { id, name } = volume;
  return (
    view.volumeStates.get(volumeStateId({ nodeId, volumeId: id, name })) ??
    // What a node has for itself is ordered away by its name.
    (volume.nodeId ? view.volumeStates.get(volumeStateId({ nodeId, volumeId: '', name })) : undefined)
  );
}

/** A node has it for itself: no object of the cluster is behind it. */
export const isNodesOwn = (view: View, { volumeId, state }: VolumeState): boolean =>
  state === 'made' && (volumeId === '' || !view.volumes.get(volumeId));

const names = (mounts: readonly Mount[] | undefined, name: string): boolean =>
  (mounts ?? []).some(({ type, source }) => type === 'volume' && source === name);

/** Ids of containers and tasks that have a volume, of the cluster or of one node. */
export function usersOf(view: View, volumeId: string, name: string, nodeId: string): string[] {
  const users: string[] = [];
  if (volumeId !== '')
    for (const { id, spec, removing } of view.containers.all())
      if (!removing && spec?.mounts.some(({ volumeMount }) => volumeMount?.id === volumeId)) users.push(id);
  if (nodeId === '') return users;
  for (const task of view.tasks.byNode(nodeId))
    if (
      !isTerminal(observedState(task, view.taskStatuses.get(task.id))) &&
      names(view.specOf(task).container?.mounts, name)
    )
      users.push(task.id);
  return users;
}
