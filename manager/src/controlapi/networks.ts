import { newId } from '@tessera/shared/env';
import { ClusterError, invalid, notFound } from '@tessera/shared/errors';
import { Network, type NetworkSpec } from '@tessera/shared/model';
import { hostAddresses, hostOverlap } from '../allocator/host-addresses.js';
import { formatBlock, overlap, parseBlock } from '../allocator/ipv4.js';
import { type AddressPool, parsePool } from '../allocator/subnets.js';
import type { Transaction, View } from '../store/view.js';
import { bridgeAddrs, findHostNetwork, type HostNetwork } from './host-networks.js';
import { getNetwork } from './lookup.js';
import type { ControlContext } from './ports.js';

/** Names that mean a host's own networks in Docker. */
const PREDEFINED = new Set(['bridge', 'host', 'none', 'default', 'ingress', 'container']);
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

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

  /** @param scope empty: any */
  async inspect(
    reference: string,
    scope = '',
  ): Promise<{ readonly view: View; readonly network: Network | HostNetwork }> {
    const view = await this.#context.store.read();
    const local = scope === 'swarm' ? undefined : findHostNetwork(reference);
    if (!local && scope !== '' && scope !== 'swarm') throw notFound('network', reference);
    return { view, network: local ?? getNetwork(view, reference) };
  }

  /** Of every node, that of this manager's first. */
  bridgeAddrs = (view: View): readonly string[] => bridgeAddrs(view, this.#context.nodeId);

  /** @throws ClusterError `alreadyExists` when the name is taken */
  async create(spec: NetworkSpec): Promise<Network> {
    const { store, random } = this.#context;
    validateNetworkSpec(spec);
    const id = newId(random);
    const pools = spec.ipam.map(parsePool);
    refuseReserved(pools);
    await store.read();

    return store.update((tx) => {
      refuseOverlap(tx, pools);
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
    const local = findHostNetwork(reference);
    if (local)
      throw new ClusterError(
        'permissionDenied',
        `${local.name} is a pre-defined network and cannot be removed`,
      );
    const { id } = getNetwork(await store.read(), reference);

    const name = await store.update((tx) => {
      const { spec } = getNetwork(tx, id);
      const user = findUser(tx, id);
      if (user) throw inUse(spec?.name, user);
      mark(tx, id, true);
      return spec?.name;
    });
    // A service may have been created between our look and the mark; from the mark on, none can be.
    const user = findUser(await store.read(), id);
    if (!user) return;
    await store.update((tx) => mark(tx, id, false));
    throw inUse(name, user);
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

/** Sets or takes back the mark of removal, and with it the name. */
function mark(tx: Transaction, id: string, removing: boolean): void {
  const network = tx.networks.get(id);
  if (!network || network.removing === removing) return;
  const claim = `name/network/${network.spec?.name}`;
  if (!removing) tx.takeClaim(claim, `network/${id}`);
  else if (tx.claim(claim) === `network/${id}`) tx.releaseClaim(claim);
  tx.put('networks', { ...network, removing });
}

const inUse = (name: string | undefined, user: string): ClusterError =>
  new ClusterError('permissionDenied', `network ${name} is in use by ${user}; remove it first`);

/** What keeps a network: a service that names it. Tasks on their way out end by themselves. */
function findUser(view: View, networkId: string): string | undefined {
  for (const service of view.services.all()) {
    const uses = service.spec?.task?.networks.some((attachment) => attachment.networkId === networkId);
    if (uses && !service.removing) return `service ${service.spec?.name}`;
  }
  for (const { name, networks, removing } of view.containers.all()) {
    const uses = networks.some((attachment) => attachment.networkId === networkId);
    if (uses && !removing) return `container ${name}`;
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
  for (const { subnet } of spec.ipam) {
    if (subnet === '') throw invalid('IPAM.Config.Subnet: give a subnet such as 10.3.0.0/24');
  }
  validateOptions(spec.options);
}

/** Options of the overlay driver that are honoured. */
const MTU_OPTION = 'com.docker.network.driver.mtu';
const MTU_MIN = 68;
/** VXLAN takes 50 bytes of a packet, and Ethernet carries 1500. */
const MTU_MAX = 1450;

function validateOptions(options: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(options)) {
    if (key === 'encrypted') {
      throw invalid('Options.encrypted: encrypted networks are not supported yet; leave the option out');
    }
    if (key !== MTU_OPTION) {
      throw invalid(`Options.${key}: the overlay driver has no such option; it has ${MTU_OPTION}`);
    }
    const mtu = Number(value);
    if (!Number.isInteger(mtu) || mtu < MTU_MIN || mtu > MTU_MAX) {
      throw invalid(`Options.${key}: '${value}' must be a number from ${MTU_MIN} to ${MTU_MAX}`);
    }
  }
}

/** No container could be reached at these, whatever its routes. Source: RFC 6890. */
const RESERVED = [
  { block: parseBlock('0.0.0.0/8', 'reserved'), meaning: 'this network' },
  { block: parseBlock('127.0.0.0/8', 'reserved'), meaning: 'loopback' },
  { block: parseBlock('169.254.0.0/16', 'reserved'), meaning: 'link-local' },
  { block: parseBlock('224.0.0.0/3', 'reserved'), meaning: 'multicast or reserved' },
];

function refuseReserved(pools: readonly AddressPool[]): void {
  for (const { subnet } of pools) {
    const hit = RESERVED.find(({ block }) => overlap(block, subnet));
    if (hit) {
      throw invalid(
        `IPAM.Config.Subnet: ${formatBlock(subnet)} has ${hit.meaning} addresses (${formatBlock(hit.block)}); choose a private subnet such as 10.3.0.0/24`,
      );
    }
  }
}

/** Docker says at once when a subnet is taken; the allocator would only say it later. */
function refuseOverlap(view: View, wanted: readonly AddressPool[]): void {
  const hosts = hostAddresses(view);
  for (const [index, { subnet }] of wanted.entries()) {
    const hit = [
      ...takenPools(view),
      ...wanted.slice(0, index).map((pool) => ({ name: 'itself', pool })),
    ].find(({ pool }) => overlap(pool.subnet, subnet));
    if (hit) {
      throw new ClusterError(
        'permissionDenied',
        `Pool overlaps with other one on this address space: ${formatBlock(subnet)} and ${formatBlock(hit.pool.subnet)} of network ${hit.name}; choose another subnet`,
      );
    }
    const host = hostOverlap(subnet, hosts);
    if (host) throw new ClusterError('permissionDenied', host);
  }
}

function* takenPools(view: View): Generator<{ readonly name: string; readonly pool: AddressPool }> {
  for (const network of view.networks.all()) {
    if (network.removing) continue;
    const status = view.networkStatuses.get(network.id);
    for (const pool of status?.pools ?? network.spec?.ipam ?? []) {
      yield { name: network.spec?.name ?? network.id, pool: parsePool(pool) };
    }
  }
}
