import type { VirtualService } from '@tessera/shared/wire';
import type { DesiredNetworks } from '../network-plane.js';
import { contains, parseSubnet, type Subnet, splitAddress } from '../subnets.js';

/** The names of one network. Keys are lower case. */
interface NetworkNames {
  readonly subnets: readonly Subnet[];
  readonly addresses: Map<string, string[]>;
  readonly owners: Map<string, string>;
}

/** Every name that containers of this node may ask for, by network. Made anew when the desired state changes. */
export class NameIndex {
  readonly #networks = new Map<string, NetworkNames>();

  constructor({ networks, endpoints, virtualServices }: DesiredNetworks) {
    const networkNames = new Map<string, string>();
    for (const { network, status } of networks) {
      if (!network) continue;
      networkNames.set(network.id, network.spec?.name ?? '');
      this.#networks.set(network.id, {
        subnets: (status?.pools ?? []).flatMap(({ subnet }) => (subnet ? [parseSubnet(subnet)] : [])),
        addresses: new Map(),
        owners: new Map(),
      });
    }
    const add = (networkId: string, name: string, addresses: readonly string[]) => {
      const names = this.#networks.get(networkId);
      if (!names || name === '') return;
      for (const key of [name, `${name}.${networkNames.get(networkId)}`]) {
        const known = names.addresses.get(key.toLowerCase());
        if (known) known.push(...addresses.filter((address) => !known.includes(address)));
        else names.addresses.set(key.toLowerCase(), [...addresses]);
      }
    };

    const ready = endpoints.filter(({ state, addr }) => state === 'ready' && addr !== '');
    const byService = groupBy(ready, ({ serviceId, networkId }) => `${serviceId}/${networkId}`);
    const virtual = new Map<string, Set<string>>();
    const backendsOf = ({ serviceId, networkId }: VirtualService) =>
      (byService.get(`${serviceId}/${networkId}`) ?? []).map(({ addr }) => splitAddress(addr).address);
    // While a service goes and another takes its name, both are here: the one that can answer comes first.
    const [able, idle] = [true, false].map((isAble) =>
      virtualServices.filter((service) => backendsOf(service).length > 0 === isAble),
    ) as [VirtualService[], VirtualService[]];
    for (const service of [...able, ...idle]) {
      const { networkId } = service;
      const addresses = backendsOf(service);
      const hasVip = service.mode === 'vip' && service.addr !== '';
      const names = new Set([service.serviceName, ...service.aliases].map((name) => name.toLowerCase()));
      for (const name of names) {
        if (addresses.length === 0 && this.find([networkId], name)) continue;
        add(networkId, name, hasVip ? [splitAddress(service.addr).address] : addresses);
        add(networkId, `tasks.${name}`, addresses);
      }
      if (hasVip) virtual.set(networkId, new Set([...(virtual.get(networkId) ?? []), ...names]));
    }
    for (const { networkId, addr, aliases } of ready) {
      const { address } = splitAddress(addr);
      for (const alias of aliases) {
        // A name that leads to a virtual address leads there alone.
        if (!virtual.get(networkId)?.has(alias.toLowerCase())) add(networkId, alias, [address]);
      }
      const owner = aliases[0];
      if (owner)
        this.#networks.get(networkId)?.owners.set(address, `${owner}.${networkNames.get(networkId)}`);
    }
  }

  /** Addresses under a name, over the networks in order. Empty: known, and nothing is ready. Undefined: unknown. */
  find(networkIds: readonly string[], name: string): readonly string[] | undefined {
    const found = networkIds.flatMap((id) => {
      const addresses = this.#networks.get(id)?.addresses.get(name.toLowerCase());
      return addresses ? [addresses] : [];
    });
    // As Docker: the first network that knows the name answers.
    return found.find((addresses) => addresses.length > 0) ?? found[0];
  }

  /** The name an address is known by: `web.1.x5k….shop`. */
  findOwner(networkIds: readonly string[], address: string): string | undefined {
    for (const id of networkIds) {
      const owner = this.#networks.get(id)?.owners.get(address);
      if (owner !== undefined) return owner;
    }
    return undefined;
  }

  /** Whether an address lies in one of the networks: nobody outside is to be asked about it. */
  covers(networkIds: readonly string[], address: string): boolean {
    return networkIds.some((id) =>
      this.#networks.get(id)?.subnets.some((subnet) => contains(subnet, address)),
    );
  }
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return groups;
}
