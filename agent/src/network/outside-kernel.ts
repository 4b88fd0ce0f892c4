import { changeNetwork, dumpLinks, type Netns } from '@tessera/native';
import { ClusterError } from '@tessera/shared/errors';
import type { ContainerKernel } from './container-kernel.js';
import type { ContainerLink } from './container-links.js';
import type { Attached, ContainerSpec } from './kernel-types.js';
import { natPortName } from './names.js';
import { NatKernel, type OverlayFacts } from './nat-kernel.js';
import { PublishedPorts } from './published-ports.js';
import { formatSubnet, macOf, parseSubnet } from './subnets.js';

/** What a container has of the way to the outside. */
type Place = Pick<Attached, 'natAddress' | 'natMac' | 'ports'>;

/** A host's way to the outside: the NAT bridge, and the ports that lead back to containers. Every call blocks. */
export class OutsideKernel {
  readonly nat: NatKernel;
  readonly #ports: PublishedPorts;

  constructor(
    private readonly host: Netns,
    bridge: string,
  ) {
    this.nat = new NatKernel(host, bridge);
    this.#ports = new PublishedPorts(host, bridge, () => formatSubnet(this.nat.addresses.subnet));
  }

  linkFor({ containerId, overlays, isOpen }: ContainerSpec): ContainerLink {
    const address = this.nat.addresses.take(containerId);
    if (address === undefined)
      throw new ClusterError('resourceExhausted', `every address of the bridge ${this.nat.bridge} is taken`);
    return {
      kind: 'nat',
      name: `eth${overlays.length}`,
      port: natPortName(containerId),
      bridge: this.nat.bridge,
      mtu: this.nat.mtu,
      mac: macOf(address),
      address,
      prefix: this.nat.addresses.subnet.prefix,
      gateway: this.nat.gateway,
      networkId: '',
      isOpen,
    };
  }

  /** What its link lets it have. @throws ClusterError `conflict` when a port is taken */
  join(container: ContainerKernel, { containerId, isOpen, publish }: ContainerSpec): Place {
    const link = container.links.find(({ kind }) => kind === 'nat');
    if (!link && publish.length > 0)
      throw new ClusterError(
        'failedPrecondition',
        'ports cannot be published: the container has internal networks alone',
      );
    if (link && isOpen) this.nat.open(containerId, link.address);
    return {
      natAddress: link && `${link.address}/${link.prefix}`,
      natMac: link?.mac,
      ports: link ? this.#ports.publish(containerId, link.address, publish) : [],
    };
  }

  /** A port that somebody took while no agent was there is lost, the container is not. */
  rejoin(container: ContainerKernel, spec: ContainerSpec): Place {
    try {
      return this.join(container, spec);
    } catch {
      return this.join(container, { ...spec, publish: [] });
    }
  }

  /** Notes the place of a container of an earlier life. */
  claim(
    containerId: string,
    own: { readonly address: string; readonly prefix: number },
    facts: OverlayFacts,
  ): void {
    this.nat.keepSubnet(parseSubnet(`${own.address}/${own.prefix}`));
    this.nat.ensureOnce(facts);
    this.nat.addresses.claim(containerId, own.address);
  }

  /** Every container of an earlier life has been claimed: ports of others lead nowhere. */
  adopted(): void {
    if (this.#ports.isEmpty) this.#ports.remove();
  }

  verify(facts: OverlayFacts): string[] {
    return [...this.nat.ensure(facts), ...this.#ports.verify()];
  }

  release(containerId: string): void {
    this.#ports.release(containerId);
    this.nat.release(containerId);
  }

  /** Links of containers that are no more. */
  removeLeftovers(containers: ReadonlyMap<string, unknown>): string[] {
    const known = new Set(Array.from(containers.keys(), natPortName));
    const leftovers = dumpLinks(this.host).filter(
      ({ name, kind }) => kind === 'veth' && name.startsWith('tn-') && !known.has(name),
    );
    changeNetwork(
      leftovers.map(({ name }) => ({ kind: 'link-delete', name, tolerant: true, netns: this.host })),
    );
    return leftovers.map(({ name }) => `leftover ${name}`);
  }

  remove(): void {
    this.#ports.remove();
    this.nat.remove();
  }
}
