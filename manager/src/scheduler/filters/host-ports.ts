import { HostConfig, type PortBinding } from '@tessera/shared/model';
import { containerOf } from '../../loops/containers.js';
import type { View } from '../../store/view.js';
import type { NodeEntry, NodeSet } from '../node-set.js';
import { type Check, type Filter, onNodes } from './filter.js';

/**
 * No other container of the node has, or may at its next start take, a port of the host that this one is to publish.
 *
 * Source: docker/swarm scheduler/filter/port.go; that protocols are told apart is ours.
 */
export const hostPortFilter: Filter = {
  name: 'host-ports',
  isDynamic: true,
  forTask: (task, _spec, { nodes, view }) => {
    const containerId = containerOf(task.id);
    const wanted = containerId === undefined ? [] : claimedPorts(view, containerId);
    return wanted.map(
      (port): Check => ({
        accepts: (entry) => !takenOn(entry, nodes, view, containerId!).some((taken) => collide(port, taken)),
        explain: (nodeCount) => `port ${port.hostPort}/${port.protocol} already in use ${onNodes(nodeCount)}`,
      }),
    );
  },
};

/** The ports of its host that a container names itself: published, or exposed on the host's own network. */
export function claimedPorts(view: View, containerId: string): PortBinding[] {
  const container = view.containers.get(containerId);
  if (!container) return [];
  const { networkMode, ports } = container.host ?? HostConfig.fromPartial({});
  if (networkMode !== 'host') return ports.filter(({ hostPort }) => hostPort > 0);
  return container.exposedPorts.flatMap((text) => {
    const [, number = '', protocol = 'tcp'] = /^(\d+)(?:\/(\w+))?$/.exec(text) ?? [];
    return number === ''
      ? []
      : [{ protocol, containerPort: Number(number), hostIp: '', hostPort: Number(number) }];
  });
}

/** Those that are claimed there, and those that were chosen for what runs. */
function takenOn(entry: NodeEntry, nodes: NodeSet, view: View, except: string): PortBinding[] {
  return nodes
    .containersOn(entry)
    .filter((id) => id !== except)
    .flatMap((id) => [...claimedPorts(view, id), ...(view.containerStates.get(id)?.ports ?? [])]);
}

const collide = (a: PortBinding, b: PortBinding): boolean =>
  a.hostPort === b.hostPort &&
  (a.protocol || 'tcp') === (b.protocol || 'tcp') &&
  (a.hostIp === b.hostIp || isEvery(a.hostIp) || isEvery(b.hostIp));

const isEvery = (address: string): boolean => ['', '0.0.0.0', '::'].includes(address);
