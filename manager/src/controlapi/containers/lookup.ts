import { ClusterError, invalid } from '@tessera/shared/errors';
import type { Container, ContainerPlacement, ContainerState, Node } from '@tessera/shared/model';
import { ContainerState as State } from '@tessera/shared/model';
import { containerOf } from '../../loops/containers.js';
import type { View } from '../../store/view.js';
import { getNode, nodeName } from '../lookup.js';

/** A container with what is known of it. */
export interface KnownContainer {
  readonly view: View;
  readonly container: Container;
  readonly placement: ContainerPlacement | undefined;
  /** As its agent last said; `created` where it has said nothing yet. */
  readonly state: ContainerState;
}

export const noSuchContainer = (reference: string): ClusterError =>
  new ClusterError('notFound', `No such container: ${reference}`);

/**
 * A container by id, by name, or by a beginning of its id that fits no other; `NODE/` before it says where it must be,
 * as the stand-alone Swarm has it.
 *
 * @throws ClusterError `notFound`, `invalidArgument` where several fit: Docker's words
 */
export function getContainer(view: View, reference: string): Container {
  const text = reference.startsWith('/') ? reference.slice(1) : reference;
  const slash = text.indexOf('/');
  if (slash < 0) return find(view, text) ?? missing(reference);

  const node = findNode(view, text.slice(0, slash));
  const container = find(view, text.slice(slash + 1));
  const isThere = node && container && view.containerPlacements.get(container.id)?.nodeId === node.id;
  return isThere ? container : missing(reference);
}

function find(view: View, text: string): Container | undefined {
  if (text === '') return undefined;
  const owner = view.claim(`name/container/${text}`);
  const named = owner === undefined ? undefined : containerOf(owner);
  return view.containers.get(text) ?? view.containers.get(named ?? '') ?? byPrefix(view, text);
}

function byPrefix(view: View, prefix: string): Container | undefined {
  if (!/^[0-9a-f]{1,64}$/.test(prefix)) return undefined;
  const matches = [...view.containers.all()].filter(({ id }) => id.startsWith(prefix));
  if (matches.length > 1) throw invalid(`multiple IDs found with provided prefix: ${prefix}`);
  return matches[0];
}

function findNode(view: View, reference: string): Node | undefined {
  try {
    return getNode(view, reference, '');
  } catch {
    return undefined;
  }
}

function missing(reference: string): never {
  throw noSuchContainer(reference);
}

export function known(view: View, container: Container): KnownContainer {
  const { id } = container;
  return {
    view,
    container,
    placement: view.containerPlacements.get(id),
    state: view.containerStates.get(id) ?? State.fromPartial({ containerId: id }),
  };
}

/** The node a container is on. @throws ClusterError `unavailable` where it has none that is known */
export function nodeIdOf({ view, container, placement }: KnownContainer): string {
  const nodeId = placement?.nodeId ?? '';
  if (nodeId !== '' && view.nodes.get(nodeId)) return nodeId;
  throw new ClusterError(
    'unavailable',
    nodeId === ''
      ? `container ${container.name} has not been given a node yet`
      : `the node of container ${container.name} is no longer part of the cluster: remove it with --force`,
  );
}

/** Why nothing can be asked of a node now; undefined: it can, or soon will be. */
export function whyUnreachable(view: View, nodeId: string): ClusterError | undefined {
  const node = view.nodes.get(nodeId);
  if (!node) return new ClusterError('unavailable', `node ${nodeId} is no longer part of the cluster`);
  const state = view.nodeStatuses.get(nodeId)?.state;
  if (state !== 'down' && state !== 'disconnected') return undefined;
  return new ClusterError(
    'unavailable',
    `node ${nodeName(view, node)} is ${state}: its containers cannot be reached`,
  );
}

/** It has a process, perhaps a frozen one, or will have one again in a moment. */
export const isRunning = ({ state }: Pick<ContainerState, 'state'>): boolean =>
  state === 'running' || state === 'paused' || state === 'restarting';
