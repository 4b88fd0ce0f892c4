import {
  changeNetwork,
  changeRules,
  dumpAddresses,
  dumpLinks,
  dumpRoutes,
  inNetns,
  type Link,
  listRules,
  NativeCallError,
  type NetChange,
  type Netns,
} from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import {
  chooseNatSubnet,
  dockerUserRules,
  findDroppingChains,
  NatAddresses,
  natGateway,
  natTable,
  natTableName,
  OPEN_SET,
} from './nat-plan.js';
import { formatSubnet, parseSubnet, type Subnet } from './subnets.js';

/** What the overlays of the host are to be spared. */
export interface OverlayFacts {
  /** CIDRs that the bridge's subnet must not touch, beside what the host has. */
  readonly subnets: readonly string[];
  /** UDP ports of VXLAN, sorted. */
  readonly ports: readonly number[];
}

/** The bridge on the host by which containers reach the outside. Every call blocks. */
export class NatKernel {
  #addresses: NatAddresses | undefined;
  /** What `list table` said right after the rules were made. */
  #fingerprint: string | undefined;
  #culprits: readonly string[] = [];
  #mtu: number | undefined;
  #tunnels: readonly number[] = [];
  /** Of containers that may reach one another, by container. */
  readonly #open = new Map<string, string>();

  constructor(
    private readonly host: Netns,
    readonly bridge: string,
  ) {}

  get culprits(): readonly string[] {
    return this.#culprits;
  }

  get addresses(): NatAddresses {
    if (!this.#addresses) throw new ClusterError('internal', 'the NAT bridge has not been made yet');
    return this.#addresses;
  }

  get gateway(): string {
    return natGateway(this.addresses.subnet);
  }

  /** The bridge's own address with prefix length, once its subnet has been decided on. */
  get addr(): string | undefined {
    return this.#addresses && `${this.gateway}/${this.#addresses.subnet.prefix}`;
  }

  /** Decides on the subnet that containers of an earlier life have addresses in. */
  keepSubnet(subnet: Subnet): void {
    this.#addresses ??= new NatAddresses(subnet);
  }

  /** The MTU that packets to the outside have: the default route's device's. */
  get mtu(): number {
    this.#mtu ??= this.#outerMtu(dumpLinks(this.host));
    return this.#mtu;
  }

  /** Makes sure of the bridge, unless it has been made: looking costs milliseconds where there are many links. */
  ensureOnce(facts: OverlayFacts): string[] {
    return this.#fingerprint === undefined ? this.ensure(facts) : [];
  }

  /**
   * Makes what is missing of bridge, address, forwarding and rules. May be repeated.
   */
  ensure({ subnets: avoid, ports }: OverlayFacts): string[] {
    const links = dumpLinks(this.host);
    this.#mtu = this.#outerMtu(links);
    const addresses = dumpAddresses(this.host).filter(({ address }) => address.includes('.'));
    const bridge = links.find(({ name }) => name === this.bridge);
    const own = addresses.find(({ index }) => index === bridge?.index);
    if (!this.#addresses) {
      const subnet = own
        ? parseSubnet(`${own.address}/${own.prefix}`)
        : chooseNatSubnet([...avoid, ...this.#inUse(addresses)]);
      if (!subnet)
        throw new ClusterError('resourceExhausted', 'no private IPv4 range is free for the NAT bridge');
      this.#addresses = new NatAddresses(subnet);
    }
    const changes: NetChange[] = [];
    if (!bridge) changes.push({ kind: 'bridge', name: this.bridge, mtu: this.#mtu });
    else if (!bridge.up) changes.push({ kind: 'link', name: this.bridge, up: true });
    if (own?.address !== this.gateway)
      changes.push({
        kind: 'address',
        name: this.bridge,
        address: this.gateway,
        prefix: this.#addresses.subnet.prefix,
        tolerant: true,
      });
    changeNetwork(inNetns(this.host, [...changes, { kind: 'sysctl', path: 'ipv4/ip_forward', value: '1' }]));
    const made = changes.map(({ kind }) => `${kind} of ${this.bridge}`);
    const sameTunnels = this.#tunnels.join() === ports.join();
    if (!sameTunnels || this.#fingerprint === undefined || this.#readRules() !== this.#fingerprint) {
      this.#tunnels = ports;
      made.push(`rules of ${this.bridge}`);
      this.#makeRules();
    }
    this.#passForeignChains();
    return made;
  }

  /** Lets a container reach others that are open too, and them it. May be repeated. */
  open(containerId: string, address: string): void {
    if (this.#open.get(containerId) === address) return;
    this.#open.set(containerId, address);
    changeRules(this.host, `add element ${natTableName(this.bridge)} ${OPEN_SET} { ${address} }`);
  }

  release(containerId: string): void {
    const address = this.#open.get(containerId);
    if (this.#open.delete(containerId)) this.#close(address!);
    this.#addresses?.release(containerId);
  }

  #close(address: string): void {
    try {
      changeRules(this.host, `delete element ${natTableName(this.bridge)} ${OPEN_SET} { ${address} }`);
    } catch (error) {
      // Somebody changed the table: the next verifying pass makes it anew.
      if (!(error instanceof NativeCallError) || error.code !== 'ENOENT') throw error;
    }
  }

  /** Takes bridge and rules away. May be repeated. */
  remove(): void {
    const name = natTableName(this.bridge);
    changeRules(this.host, `add table ${name}\ndelete table ${name}`);
    changeNetwork([{ kind: 'link-delete', name: this.bridge, tolerant: true, netns: this.host }]);
    this.#fingerprint = undefined;
  }

  #outerMtu(links: readonly Link[]): number {
    const route = dumpRoutes(this.host).find(({ prefix }) => prefix === 0);
    return links.find(({ index }) => index === route?.index)?.mtu ?? 1500;
  }

  #inUse(addresses: readonly { readonly address: string; readonly prefix: number }[]): string[] {
    const routes = dumpRoutes(this.host).filter(({ prefix }) => prefix > 0);
    return [
      ...routes.map(({ destination, prefix }) => `${destination}/${prefix}`),
      ...addresses.map(({ address, prefix }) => `${address}/${prefix}`),
    ];
  }

  #makeRules(): void {
    const subnet = formatSubnet(this.addresses.subnet);
    const open = [...this.#open.values()].join(', ');
    const elements = open === '' ? '' : `\nadd element ${natTableName(this.bridge)} ${OPEN_SET} { ${open} }`;
    changeRules(this.host, `${natTable(this.bridge, subnet, this.#tunnels)}${elements}`);
    this.#fingerprint = this.#readRules();
  }

  /** The rules as text; undefined when the table is gone. */
  #readRules(): string | undefined {
    try {
      const listing = listRules(this.host, `list table ${natTableName(this.bridge)}`).slice(1);
      return JSON.stringify(listing.map((object) => this.#withoutElements(object)));
    } catch (error) {
      if (error instanceof NativeCallError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** The set's elements come and go; that they are all there is told by their count. */
  #withoutElements(object: Record<string, unknown>): Record<string, unknown> {
    const { set } = object as { set?: { elem?: unknown[] } };
    return set ? { set: { ...set, elem: (set.elem?.length ?? 0) === this.#open.size } } : object;
  }

  /** An accept of ours does not outweigh a drop of theirs: only a rule in their own chain does. */
  #passForeignChains(): void {
    const { dropping, hasDockerUser } = findDroppingChains(listRules(this.host, 'list chains'));
    const docker = dropping.filter(({ family, table }) => family === 'ip' && table === 'filter');
    if (docker.length > 0 && hasDockerUser) {
      const listing = JSON.stringify(listRules(this.host, 'list chain ip filter DOCKER-USER'));
      if (!listing.includes(`"${this.bridge}"`)) changeRules(this.host, dockerUserRules(this.bridge));
    }
    this.#culprits = dropping
      .filter((chain) => !(hasDockerUser && docker.includes(chain)))
      .map(({ family, table, chain }) => `${family} ${table} ${chain}`);
  }
}
