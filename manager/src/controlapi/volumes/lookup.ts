import { ClusterError } from '@tessera/shared/errors';
import type { Volume, VolumeState } from '@tessera/shared/model';
import { isNodesOwn, nodeOfVolume, stateOfVolume, usersOf, volumeClaim } from '../../loops/volumes.js';
import type { View } from '../../store/view.js';
import { getNode, nodeName } from '../lookup.js';

/** A volume with what is known of it. */
export interface KnownVolume {
  readonly view: View;
  /** As it is listed: with `NODE/` before it where several nodes have one of that name for themselves. */
  readonly label: string;
  readonly name: string;
  /** The cluster's; undefined: its node has it for itself. */
  readonly volume: Volume | undefined;
  /** Empty: no container has used it yet. */
  readonly nodeId: string;
  /** What its node says of it, once it is there. */
  readonly state: VolumeState | undefined;
}

/** Every volume there is, those that are being removed apart; by name. */
export function allVolumes(view: View): KnownVolume[] {
  const found: Omit<KnownVolume, 'label'>[] = [];
  const leaving = new Set<string>();
  for (const volume of view.volumes.all()) {
    const nodeId = nodeOfVolume(view, volume);
    if (volume.removing) leaving.add(`${nodeId}/${volume.name}`);
    else found.push({ view, name: volume.name, volume, nodeId, state: stateOfVolume(view, volume) });
  }
  for (const state of view.volumeStates.all()) {
    const { nodeId, name } = state;
    if (isNodesOwn(view, state) && !leaving.has(`${nodeId}/${name}`))
      found.push({ view, name, volume: undefined, nodeId, state });
  }
  const counts = new Map<string, number>();
  for (const { name } of found) counts.set(name, (counts.get(name) ?? 0) + 1);
  return found
    .map((one) => ({ ...one, label: labelOf(one, counts.get(one.name) ?? 0) }))
    .sort((a, b) => (a.label < b.label ? -1 : 1));
}

const labelOf = ({ view, name, volume, nodeId }: Omit<KnownVolume, 'label'>, count: number): string =>
  volume || count < 2 ? name : `${nameOfNode(view, nodeId)}/${name}`;

export function nameOfNode(view: View, nodeId: string): string {
  const node = view.nodes.get(nodeId);
  return node ? nodeName(view, node) : nodeId;
}

export const noSuchVolume = (name: string): ClusterError =>
  new ClusterError('notFound', `get ${name}: no such volume`);

/**
 * A volume by name: the cluster's, or the one that a node has for itself; `NODE/` before it says where it must be, as the
 * stand-alone Swarm has it.
 *
 * @throws ClusterError `notFound`; `failedPrecondition` where several nodes have one of that name
 */
export function getVolume(view: View, reference: string): KnownVolume {
  const slash = reference.indexOf('/');
  const name = reference.slice(slash + 1);
  const named = allVolumes(view).filter((one) => one.name === name);
  const matches = slash < 0 ? named : named.filter(({ nodeId }) => nodeId === nodeIdOf(view, reference));
  const claimed = matches.find(
    ({ volume }) => volume && view.claim(volumeClaim(name)) === `volume/${volume.id}`,
  );
  const found = claimed ?? matches[0];
  if (!found) throw noSuchVolume(reference);
  if (!claimed && matches.length > 1)
    throw new ClusterError(
      'failedPrecondition',
      `volume ${name} is ambiguous: give one of ${matches.map(({ label }) => label).join(', ')}`,
    );
  return found;
}

function nodeIdOf(view: View, reference: string): string | undefined {
  try {
    return getNode(view, reference.slice(0, reference.indexOf('/')), '').id;
  } catch {
    return undefined;
  }
}

/** Ids of the containers and tasks that have it. */
export const usersOfVolume = ({ view, name, volume, nodeId }: KnownVolume): string[] =>
  usersOf(view, volume?.id ?? '', name, nodeId);
