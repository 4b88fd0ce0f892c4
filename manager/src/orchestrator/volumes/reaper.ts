import type { Volume, VolumeState } from '@tessera/shared/model';
import type { LoopDefinition, Outcome } from '../../loops/leader-loop.js';
import { nodeOfVolume, stateOfVolume, usersOf, volumeClaim, volumeOwner } from '../../loops/volumes.js';
import { volumeStateId } from '../../store/kinds.js';
import type { Change, Store, Transaction, View } from '../../store/view.js';

/** Ids of states have slashes, those of volumes have none. */
const isState = (id: string): boolean => id.includes('/');

/**
 * Deletes volumes that are being removed once their node has removed them, or will never say so, and what nodes have said
 * of volumes that are gone. A mark that its manager died over is carried on, or taken back. Ids are volumes and states.
 */
export function volumeReaperLoop(store: Store): LoopDefinition {
  return {
    name: 'volume-reaper',
    concurrency: 8,
    *ids(view) {
      for (const { id } of view.volumes.all()) yield id;
      for (const state of view.volumeStates.all()) yield volumeStateId(state);
    },
    touched,
    reconcile: async (id): Promise<Outcome> => {
      // Most changes are none of this loop's: a look costs nothing, a transaction does.
      if (!isDue(store.view(), id)) return { worked: false };
      return { worked: await store.update((tx) => reap(tx, id)) };
    },
  };
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const change of changes) {
    switch (change.kind) {
      case 'volumes':
      case 'volumeStates':
        yield change.id;
        if (change.kind === 'volumeStates') yield* orderedAt(view, change.id);
        break;
      case 'nodes':
        if (change.after) break;
        for (const volume of view.volumes.all()) if (volume.removing) yield volume.id;
        for (const state of view.volumeStates.byNode(change.id)) yield volumeStateId(state);
        break;
    }
  }
}

/** The volumes on their way out that a state may speak of. */
function* orderedAt(view: View, stateId: string): Iterable<string> {
  const state = view.volumeStates.get(stateId);
  if (state?.state !== 'removed') return;
  for (const { id, name, removing } of view.volumes.all()) if (removing && name === state.name) yield id;
}

function isDue(view: View, id: string): boolean {
  if (isState(id)) {
    const state = view.volumeStates.get(id);
    return state !== undefined && isStale(view, state);
  }
  const volume = view.volumes.get(id);
  return volume?.removing === true && (!volume.ordered || isRemoved(view, volume));
}

/** Its node has said that it is gone, or will never speak again, or never had it. */
function isRemoved(view: View, volume: Volume): boolean {
  const nodeId = nodeOfVolume(view, volume);
  return nodeId === '' || !view.nodes.get(nodeId) || stateOfVolume(view, volume)?.state === 'removed';
}

/** Nobody will ask for it again. */
function isStale(view: View, state: VolumeState): boolean {
  if (!view.nodes.get(state.nodeId)) return true;
  if (state.state !== 'removed') return false;
  return ![...view.volumes.all()].some((volume) => volume.removing && stateOfVolume(view, volume) === state);
}

function reap(tx: Transaction, id: string): boolean {
  if (!isDue(tx, id)) return false;
  if (isState(id)) {
    tx.delete('volumeStates', id);
    return true;
  }
  const volume = tx.volumes.get(id)!;
  if (!volume.ordered) return settleMark(tx, volume);
  const state = stateOfVolume(tx, volume);
  if (state) tx.delete('volumeStates', volumeStateId(state));
  if (tx.claim(volumeClaim(volume.name)) === volumeOwner(id)) tx.releaseClaim(volumeClaim(volume.name));
  tx.delete('volumePlacements', id);
  tx.delete('volumes', id);
  return true;
}

/** The mark keeps new users away, so that there is none now counts. */
function settleMark(tx: Transaction, volume: Volume): boolean {
  const users = usersOf(tx, volume.id, volume.name, nodeOfVolume(tx, volume));
  if (users.length === 0) tx.put('volumes', { ...volume, ordered: true });
  else if (volume.nodeId !== '') tx.delete('volumes', volume.id);
  else {
    tx.put('volumes', { ...volume, removing: false });
    if (tx.claim(volumeClaim(volume.name)) === undefined)
      tx.takeClaim(volumeClaim(volume.name), volumeOwner(volume.id));
  }
  return true;
}
