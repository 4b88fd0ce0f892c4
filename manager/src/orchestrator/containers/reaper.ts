import type { Clock } from '@tessera/shared/env';
import type { Container, Volume } from '@tessera/shared/model';
import { containerOwner, volumeIdsOf } from '../../loops/containers.js';
import type { LoopDefinition, Outcome } from '../../loops/leader-loop.js';
import { nodeOfVolume, stateOfVolume, usersOf, volumeClaim, volumeOwner } from '../../loops/volumes.js';
import type { Change, Store, Transaction, View } from '../../store/view.js';
import { planContainer } from './plan.js';

/**
 * Deletes containers that have gone from their node, with placement, state and claims: their users removed them, or they
 * removed themselves. Ids are containers.
 */
export function containerReaperLoop(store: Store, clock: Clock): LoopDefinition {
  return {
    name: 'container-reaper',
    concurrency: 8,
    ids,
    touched,
    reconcile: (id) => reap(store, clock, id),
  };
}

function ids(view: View): Iterable<string> {
  const found = new Set<string>();
  for (const { id } of view.containers.all()) found.add(id);
  for (const { containerId } of view.containerPlacements.all()) found.add(containerId);
  for (const { containerId } of view.containerStates.all()) found.add(containerId);
  return found;
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const { kind, id } of changes) {
    switch (kind) {
      case 'containers':
      case 'containerPlacements':
      case 'containerStates':
        yield id;
        break;
      case 'nodes':
      case 'nodeStatuses':
        for (const { containerId } of view.containerPlacements.byNode(id))
          if (view.containers.get(containerId)?.removing) yield containerId;
        break;
    }
  }
}

async function reap(store: Store, clock: Clock, id: string): Promise<Outcome> {
  // Most changes of a container are none of this loop's: a look costs nothing, a transaction does.
  const plan = planContainer(store.view(), id, clock.now());
  if (plan.kind === 'keep') return { worked: false };
  if (plan.kind === 'later') return { worked: false, wakeAtMs: plan.atMs };
  const worked = await store.update((tx) => reapContainer(tx, id, clock.now()));
  return { worked };
}

/** Deletes a container that is to go and has gone. @returns whether it was one */
export function reapContainer(tx: Transaction, id: string, nowMs: number): boolean {
  if (planContainer(tx, id, nowMs).kind !== 'delete') return false;
  deleteContainer(tx, id);
  return true;
}

/** Everything that the cluster knows of a container, its claims included. */
function deleteContainer(tx: Transaction, id: string): void {
  const container = tx.containers.get(id);
  if (container) {
    releaseIfOwned(tx, `name/container/${container.name}`, containerOwner(id));
    for (const volume of volumesThatGo(tx, container)) markVolume(tx, volume);
  }
  for (const { networkId, addr } of tx.containerPlacements.get(id)?.networks ?? []) {
    if (addr) releaseIfOwned(tx, `ip/${networkId}/${addr.split('/')[0]}`, containerOwner(id));
  }
  tx.delete('containers', id);
  tx.delete('containerPlacements', id);
  tx.delete('containerStates', id);
}

/**
 * Those that nobody has named, where that is asked for, as long as no other container has them; and those that were made
 * for this one and never came to be.
 */
function volumesThatGo(tx: Transaction, container: Container): Volume[] {
  const takesAnonymous = container.removeVolumes || container.host?.autoRemove === true;
  return volumeIdsOf(container).flatMap((volumeId) => {
    const volume = tx.volumes.get(volumeId);
    if (!volume || volume.removing) return [];
    const neverMade = volume.containerId === container.id && !stateOfVolume(tx, volume);
    if (!neverMade && !(takesAnonymous && volume.anonymous)) return [];
    const users = usersOf(tx, volumeId, volume.name, nodeOfVolume(tx, volume));
    return users.some((user) => user !== container.id) ? [] : [volume];
  });
}

function markVolume(tx: Transaction, volume: Volume): void {
  tx.put('volumes', { ...volume, removing: true });
  releaseIfOwned(tx, volumeClaim(volume.name), volumeOwner(volume.id));
}

/** A successor may hold what this owner gave up before it was deleted. */
function releaseIfOwned(tx: Transaction, claim: string, owner: string): void {
  if (tx.claim(claim) === owner) tx.releaseClaim(claim);
}
