import type { NetworkAttachment, PortBinding } from '@tessera/shared/model';
import { isRunning, type KnownContainer } from '../../../controlapi/containers/index.js';
import { hostNetworkId, isHostNetwork } from '../../../controlapi/index.js';

/** A container's place on one network, as Docker's JSON has it. */
export interface EndpointJson {
  readonly IPAMConfig: null;
  readonly Links: null;
  readonly Aliases: readonly string[] | null;
  readonly MacAddress: string;
  readonly DriverOpts: null;
  readonly GwPriority: number;
  readonly NetworkID: string;
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly DNSNames: readonly string[] | null;
}

const ID_LENGTH_SHORT = 12;

/** By network's name: those of the cluster, that of its node, or the mode it has instead. */
export function networksToDocker(one: KnownContainer): Record<string, EndpointJson> {
  const { view, container, placement, state } = one;
  const mode = container.host?.networkMode ?? '';
  if (mode.startsWith('container:')) return {};
  const found: Record<string, EndpointJson> = {};
  for (const attachment of placement?.networks ?? container.networks.map(withoutAddress)) {
    const network = view.networks.get(attachment.networkId);
    const gateway = view.networkStatuses.get(attachment.networkId)?.pools[0]?.gateway ?? '';
    const names = [container.name, container.id.slice(0, ID_LENGTH_SHORT)];
    found[network?.spec?.name ?? attachment.networkId] = endpoint(one, attachment, gateway, names);
  }
  if (container.networks.length === 0) {
    const name = mode === '' || mode === 'default' ? 'bridge' : mode;
    const local = state.localNetworks.find(({ networkId }) => networkId === name) ?? state.localNetworks[0];
    found[name] = endpoint(
      one,
      local ?? withoutAddress({ networkId: name, aliases: [] }),
      local ? firstAddress(local.addr) : '',
      [],
    );
  }
  return found;
}

const withoutAddress = ({
  networkId,
  aliases,
}: {
  readonly networkId: string;
  readonly aliases: readonly string[];
}): NetworkAttachment => ({ networkId, aliases: [...aliases], addr: '', mac: '' });

function endpoint(
  { container, state }: KnownContainer,
  { networkId, addr, mac, aliases }: NetworkAttachment,
  gateway: string,
  names: readonly string[],
): EndpointJson {
  const [address = '', prefix = '0'] = isRunning(state) ? addr.split('/') : [];
  return {
    IPAMConfig: null,
    Links: null,
    Aliases: aliases.length > 0 ? aliases : null,
    MacAddress: address ? mac : '',
    DriverOpts: null,
    GwPriority: 0,
    // A host's own network is known by its id once the container has been on it.
    NetworkID: isHostNetwork(networkId) && state.starts === 0 ? '' : hostNetworkId(networkId),
    EndpointID: address ? container.id : '',
    Gateway: address ? gateway : '',
    IPAddress: address,
    IPPrefixLen: Number(prefix) || 0,
    IPv6Gateway: '',
    GlobalIPv6Address: '',
    GlobalIPv6PrefixLen: 0,
    DNSNames: names.length > 0 ? [...new Set([...names, ...aliases])] : null,
  };
}

/** Of the subnet that an address such as `10.214.0.7/20` is in: the bridge's own, which is the way out. */
function firstAddress(addr: string): string {
  const [address = '', prefix = '32'] = addr.split('/');
  const bytes = address.split('.').map(Number);
  if (bytes.length !== 4) return '';
  const number = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const size = 2 ** (32 - Number(prefix));
  const first = Math.floor(number / size) * size + 1;
  return [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join('.');
}

/**
 * The ports that are open, each where it is reached: one of all addresses is at its node's, as the stand-alone Swarm showed
 * it. A node that is alone says of them what dockerd says. Source: docker/swarm, api/handlers.go, "insert node IP".
 */
export function openPorts({ view, placement, state }: KnownContainer): readonly PortBinding[] {
  if (!isRunning(state)) return [];
  const address = view.nodes.size > 1 ? view.nodeStatuses.get(placement?.nodeId ?? '')?.addr : undefined;
  return state.ports.map((port) =>
    address && isAnyAddress(port.hostIp) ? { ...port, hostIp: address } : port,
  );
}

const isAnyAddress = (hostIp: string): boolean => hostIp === '' || hostIp === '0.0.0.0';

type HostPorts = readonly { readonly HostIp: string; readonly HostPort: string }[];

/** `{"80/tcp": [{"HostIp","HostPort"}]}`; what is exposed and not published has null. */
export function portMap(
  ports: readonly PortBinding[],
  exposed: readonly string[],
): Record<string, HostPorts | null> {
  const map: Record<string, HostPorts | null> = Object.fromEntries(exposed.map((port) => [port, null]));
  for (const { protocol, containerPort, hostIp, hostPort } of ports) {
    const key = `${containerPort}/${protocol || 'tcp'}`;
    const binding = { HostIp: hostIp, HostPort: hostPort === 0 ? '' : String(hostPort) };
    map[key] = [...(map[key] ?? []), binding];
  }
  return map;
}
