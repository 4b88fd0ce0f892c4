import { newId } from '@tessera/shared/env';
import { ClusterError, invalid } from '@tessera/shared/errors';
import { type IpamPool, Network, type NetworkSpec } from '@tessera/shared/model';
import ipaddr from 'ipaddr.js';
import type { View } from '../store/view.js';
import { getNetwork } from './lookup.js';
import type { ControlContext } from './ports.js';

/** Names that mean a host's own networks in Docker. */
const PREDEFINED = new Set(['bridge', 'host', 'none', 'default', 'ingress', 'container']);
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** Longest prefix that still holds a gateway, a virtual address and a task. */
const PREFIX_MAX = 29;
const PREFIX_MIN = 8;

/** What may be asked of networks. */
export class Networks {
  readonly #context: ControlContext;

  constructor(context: ControlContext) {
    this.#context = context;
  }

  async list(): Promise<{ readonly view: View; readonly networks: readonly Network[] }> {
    const view = await this.#context.store.read();
    return { view, networks: [...view.networks.all()].filter((network) => !network.removing) };
  }

  async inspect(reference: string): Promise<{ readonly view: View; readonly network: Network }> {
    const view = await this.#context.store.read();
    return { view, network: getNetwork(view, reference) };
  }

  /** @throws ClusterError `alreadyExists` when the name is taken */
  async create(spec: NetworkSpec): Promise<Network> {
    const { store, random } = this.#context;
    validateNetworkSpec(spec);
    const id = newId(random);
    await store.read();

    return store.update((tx) => {
      const claim = `name/network/${spec.name}`;
      if (tx.claim(claim) !== undefined) {
        throw new ClusterError('alreadyExists', `network with name ${spec.name} already exists`);
      }
      tx.takeClaim(claim, `network/${id}`);
      const network = Network.fromPartial({ id, spec });
      tx.put('networks', network);
      return network;
    });
  }

  /** Marks a network for removal and frees its name; the leader deletes it once nothing is attached. */
  async remove(reference: string): Promise<void> {
    const { store } = this.#context;
    const { id } = getNetwork(await store.read(), reference);

    await store.update((tx) => {
      const network = getNetwork(tx, id);
      const user = findUser(tx, id);
      if (user) {
        throw new ClusterError(
          'permissionDenied',
          `network ${network.spec?.name} is in use by ${user}; remove it first`,
        );
      }
      tx.put('networks', { ...network, removing: true });
      const claim = `name/network/${network.spec?.name}`;
      if (tx.claim(claim) === `network/${id}`) tx.releaseClaim(claim);
    });
  }

  /** Removes every network that nothing uses. Gives their names. */
  async prune(matches: (network: Network) => boolean): Promise<readonly string[]> {
    const { view, networks } = await this.list();
    const unused = networks.filter((network) => matches(network) && !findUser(view, network.id));
    const removed: string[] = [];
    for (const network of unused) {
      try {
        await this.remove(network.id);
        removed.push(network.spec?.name ?? network.id);
      } catch (error) {
        // Taken into use, or removed by someone else, since we looked.
        if (error instanceof ClusterError && ['permissionDenied', 'notFound'].includes(error.kind)) continue;
        throw error;
      }
    }
    return removed;
  }
}

/** What keeps a network: a service that names it. Tasks on their way out end by themselves. */
function findUser(view: View, networkId: string): string | undefined {
  for (const service of view.services.all()) {
    const uses = service.spec?.task?.networks.some((attachment) => attachment.networkId === networkId);
    if (uses && !service.removing) return `service ${service.spec?.name}`;
  }
  return undefined;
}

function validateNetworkSpec(spec: NetworkSpec): void {
  if (!NAME.test(spec.name)) {
    throw invalid(
      `invalid network name '${spec.name}': use letters, digits, '_', '.' and '-', beginning with a letter or digit`,
    );
  }
  if (PREDEFINED.has(spec.name)) {
    throw new ClusterError(
      'permissionDenied',
      `operation is not permitted on predefined ${spec.name} network`,
    );
  }
  if (spec.driver !== 'overlay') {
    throw invalid(`Driver: '${spec.driver}' networks cannot be created; use --driver overlay`);
  }
  if (spec.enableIpv6) throw invalid('EnableIPv6: IPv6 is not supported yet; leave it out');
  if (spec.ipam.length > 1) throw invalid('IPAM.Config: only one subnet is supported yet; give one');
  for (const pool of spec.ipam) validatePool(pool);
}

function validatePool({ subnet, gateway, ipRange }: IpamPool): void {
  if (subnet === '') throw invalid('IPAM.Config.Subnet: give a subnet such as 10.3.0.0/24');
  const [network, prefix] = parseCidr('IPAM.Config.Subnet', subnet);
  if (prefix < PREFIX_MIN || prefix > PREFIX_MAX) {
    throw invalid(
      `IPAM.Config.Subnet: the prefix of ${subnet} must be from /${PREFIX_MIN} to /${PREFIX_MAX}`,
    );
  }
  const base = ipaddr.IPv4.networkAddressFromCIDR(subnet).toString();
  if (base !== network.toString()) {
    throw invalid(`IPAM.Config.Subnet: ${subnet} has host bits set; write ${base}/${prefix}`);
  }
  if (ipRange !== '') {
    throw invalid('IPAM.Config.IPRange: a range within the subnet is not supported yet; leave it out');
  }
  if (gateway === '') return;
  if (!ipaddr.IPv4.isValid(gateway) || !ipaddr.IPv4.parse(gateway).match([network, prefix])) {
    throw invalid(`IPAM.Config.Gateway: ${gateway} is no address within ${subnet}`);
  }
}

function parseCidr(field: string, text: string): [ipaddr.IPv4, number] {
  if (!ipaddr.IPv4.isValidCIDR(text))
    throw invalid(`${field}: '${text}' is no IPv4 subnet such as 10.3.0.0/24`);
  return ipaddr.IPv4.parseCIDR(text);
}
