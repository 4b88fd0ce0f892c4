import type { ContainerPlacement } from '@tessera/shared/model';
import type { Assignment, Endpoint } from '@tessera/shared/wire';
import { volumeIdsOf } from '../loops/containers.js';
import type { View } from '../store/view.js';

/** How much of its id a container answers to as a name on its networks, as with Docker. */
const ID_LENGTH_SHORT = 12;

/** Where packets for what runs on a node are sent. */
export function dataPathAddr(view: View, nodeId: string): string {
  const status = view.nodeStatuses.get(nodeId);
  return status?.description?.dataPathAddr || status?.addr || '';
}

/** Where a container is; undefined until it has been given a node. */
export function placeOf(view: View, containerId: string): ContainerPlacement | undefined {
  const placement = view.containerPlacements.get(containerId);
  return placement?.nodeId && view.containers.get(containerId) ? placement : undefined;
}

/** It keeps its places on its networks while it is stopped, until it is gone from its node. */
export const containerNetworks = (view: View, { containerId, networks }: ContainerPlacement): string[] =>
  view.containerStates.get(containerId)?.state === 'removed'
    ? []
    : networks.filter(({ addr }) => addr !== '').map(({ networkId }) => networkId);

export function containerBody(view: View, containerId: string): Assignment['item'] {
  const placement = placeOf(view, containerId);
  const container = view.containers.get(containerId);
  if (!placement || !container) return undefined;
  const volumes = volumeIdsOf(container).flatMap((id) => view.volumes.get(id) ?? []);
  return { $case: 'container', value: { container, placement, volumes } };
}

/** Its place on a network, under its own id where tasks have theirs. It is listed while it runs. */
export function containerEndpoint(view: View, containerId: string, networkId: string): Assignment['item'] {
  const placement = placeOf(view, containerId);
  const container = view.containers.get(containerId);
  const attachment = placement?.networks.find((one) => one.networkId === networkId && one.addr !== '');
  if (!container || !placement || !attachment || !containerNetworks(view, placement).includes(networkId))
    return undefined;
  const { state, epoch } = view.containerStates.get(containerId) ?? {};
  const isUp = epoch === placement.epoch && (state === 'running' || state === 'paused');
  const value: Endpoint = {
    taskId: containerId,
    networkId,
    nodeId: placement.nodeId,
    nodeAddr: dataPathAddr(view, placement.nodeId),
    addr: attachment.addr,
    mac: attachment.mac,
    serviceId: '',
    serviceName: '',
    aliases: [...new Set([container.name, containerId.slice(0, ID_LENGTH_SHORT), ...attachment.aliases])],
    state: isUp ? 'ready' : 'starting',
    slot: 0,
  };
  return { $case: 'endpoint', value };
}
