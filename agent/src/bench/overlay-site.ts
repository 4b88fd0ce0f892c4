import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Network, NetworkSpec, NetworkStatus } from '@tessera/shared/model';
import { Endpoint, NetworkAssignment, VirtualService } from '@tessera/shared/wire';
import type { LocalAttachment } from '../network/container-network.js';
import type { Upstream } from '../network/dns/forwarder.js';
import type { KernelThread } from '../network/kernel-thread.js';
import { NetworkManager } from '../network/network-manager.js';
import { macOf } from '../network/subnets.js';
import type { LabContainer, LabHost, OverlayLab } from './overlay-lab.js';

// What a manager would desire of a lab's hosts, and containers attached accordingly.

export const NAT_BRIDGE = 'ts-nat0';

/** A network manager on a host of the lab. */
export const openManager = (
  lab: OverlayLab,
  host: LabHost,
  thread: KernelThread,
  upstreams: readonly Upstream[] = [],
): Promise<NetworkManager> =>
  NetworkManager.open({
    hostNetns: host.netns,
    fabricPath: host.fabricPath,
    natBridge: NAT_BRIDGE,
    dataPathAddr: host.address,
    nodeId: host.name,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    resolvers: { get: () => upstreams },
    outside: lab.outsideOf(host),
    thread,
  });

/** The network 10.0.NUMBER.0/24. */
export const aNetwork = (number: number, name: string, spec: Partial<NetworkSpec> = {}): NetworkAssignment =>
  NetworkAssignment.fromPartial({
    network: Network.fromPartial({
      id: `network-${number}`,
      spec: NetworkSpec.fromPartial({ driver: 'overlay', ...spec, name } as NetworkSpec),
    }),
    status: NetworkStatus.fromPartial({
      networkId: `network-${number}`,
      vni: 4096 + number,
      pools: [{ subnet: `10.0.${number}.0/24`, gateway: `10.0.${number}.1`, ipRange: '' }],
    }),
    dataPathPort: 4789,
  } as NetworkAssignment);

/** A task's place on the network of its address. */
export const anEndpoint = (host: LabHost, address: string, part: Partial<Endpoint> = {}): Endpoint =>
  Endpoint.fromPartial({
    taskId: `task-${address}`,
    networkId: `network-${address.split('.')[2]}`,
    nodeId: host.name,
    nodeAddr: host.address,
    addr: `${address}/24`,
    mac: macOf(address),
    serviceId: 'service-web',
    serviceName: 'web',
    aliases: [`web.${address.split('.')[3]}`],
    state: 'ready',
    slot: 1,
    ...part,
  } as Endpoint);

export const aVirtualService = (address: string, part: Partial<VirtualService> = {}): VirtualService =>
  VirtualService.fromPartial({
    serviceId: 'service-web',
    serviceName: 'web',
    networkId: `network-${address.split('.')[2]}`,
    addr: `${address}/24`,
    mode: 'vip',
    ...part,
  } as VirtualService);

/** Attaches a lab container at its endpoints; none: to the outside alone. */
export const attach = (
  manager: NetworkManager,
  container: LabContainer,
  endpoints: readonly Endpoint[],
): Promise<LocalAttachment> => manager.attach(sandboxOf(container, endpoints), new AbortController().signal);

export const sandboxOf = (container: LabContainer, endpoints: readonly Endpoint[]) => ({
  containerId: `container-${container.pid}`,
  taskId: endpoints[0]?.taskId ?? 'task',
  pid: container.pid,
  hostname: 'container',
  attachments: endpoints.map(({ networkId, addr, mac }) => ({ networkId, addr, mac, aliases: [] })),
});
