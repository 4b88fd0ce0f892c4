import { closeSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  changeNetwork,
  changeRules,
  createNetns,
  dumpAddresses,
  dumpForwarding,
  dumpLinks,
  dumpNeighbours,
  inNetns,
  listRules,
  NativeCallError,
  type Netns,
  OWN_NETNS,
  openNetns,
  removeNetns,
} from '@tessera/native';
import { errorText } from '@tessera/shared/errors';
import { ContainerKernel } from './container-kernel.js';
import type { ContainerLink } from './container-links.js';
import { DEFAULT_VXLAN_PORT } from './desired-overlays.js';
import { admit, buildGuard, dismiss, GUARD_TABLE, planGuard } from './fabric-guard.js';
import {
  FABRIC_SYSCTLS,
  type FabricNetwork,
  type FabricPort,
  type FabricState,
  planLeftovers,
  planNetwork,
} from './fabric-plan.js';
import type {
  Attached,
  ContainerSpec,
  Desired,
  HostOptions,
  OverlaySpec,
  ReconcileReport,
} from './kernel-types.js';
import { bridgeName, portName } from './names.js';
import type { OverlayFacts } from './nat-kernel.js';
import { OutsideKernel } from './outside-kernel.js';
import { splitAddress } from './subnets.js';

/** Bytes that VXLAN over IPv4 puts around a frame. */
const VXLAN_OVERHEAD = 50;

/**
 * One host's part of the kernel: fabric, NAT bridge, containers. Every call blocks, so it lives in a thread of its
 * own; no two calls overlap.
 */
export class HostKernel {
  readonly #host: Netns;
  readonly #fabric: Netns;
  readonly #outside: OutsideKernel;
  readonly #containers = new Map<string, ContainerKernel>();
  #overlays: readonly OverlaySpec[] = [];
  /** The overlays that the fabric was last brought to, as text; undefined when not all of it succeeded. */
  #fabricDone: string | undefined;
  /** Looked up again by each verifying pass. */
  #dataPathMtu: number | undefined;
  /** Until containers of an earlier life have been claimed, nothing of theirs is a leftover. */
  #adopted = false;
  /** Whether an earlier life may have left something: the pass after the adoption takes it away. */
  #sweepDue = false;

  constructor(private readonly options: HostOptions) {
    this.#host = options.hostNetns === undefined ? OWN_NETNS : openNetns(options.hostNetns);
    mkdirSync(dirname(options.fabricPath), { recursive: true, mode: 0o700 });
    this.#fabric = createNetns(options.fabricPath);
    changeNetwork(inNetns(this.#fabric, FABRIC_SYSCTLS));
    this.#outside = new OutsideKernel(this.#host, options.natBridge);
    changeRules(this.#fabric, planGuardOrNothing(this.#fabric));
  }

  /** Gives a container its links, resolver sockets and table. May be repeated after a crash. */
  attach(spec: ContainerSpec): Attached {
    this.#forgetContainer(spec.containerId);
    if (spec.nat) this.#outside.nat.ensureOnce(this.#overlayFacts());
    const container = this.#open(spec, spec.nat ? this.#outside.linkFor(spec) : undefined);
    let sockets: Attached['sockets'];
    try {
      sockets = this.#create(container, spec);
      this.#containers.set(spec.containerId, container);
      const ports = portsOf(container);
      if (ports.length > 0) changeRules(this.#fabric, ports.map(admit).join('\n'));
      return { containerId: spec.containerId, sockets, ...this.#outside.join(container, spec) };
    } catch (error) {
      this.#containers.delete(spec.containerId);
      for (const socket of sockets ? [sockets.udp, sockets.tcp] : []) closeSync(socket.fd);
      container.removeLinks();
      container.close();
      this.#outside.release(spec.containerId);
      throw error;
    }
  }

  /** Takes over the containers that live on from an earlier agent. Those whose process is gone are left out. */
  adopt(specs: readonly ContainerSpec[]): Attached[] {
    const adopted = specs.flatMap((spec) => {
      try {
        return [this.#adoptOne(spec)];
      } catch (error) {
        if (error instanceof NativeCallError && error.kind === 'notFound') return [];
        throw error;
      }
    });
    this.#adopted = true;
    this.#outside.adopted();
    // Now leftovers are known; the next pass takes them away.
    this.#fabricDone = undefined;
    this.#sweepDue = true;
    return adopted;
  }

  /** Forgets a container; its links end with its namespace, unless others live on in that: then they are taken away. */
  detach(containerId: string, isShared = false): void {
    if (isShared) this.#containers.get(containerId)?.removeLinks();
    this.#forgetContainer(containerId);
  }

  /**
   * Brings fabric and containers to what is desired. One network's or container's failure does not hold up the rest.
   *
   * @param verify read back and mend also what only somebody else can have changed
   */
  reconcile(desired: Desired, verify: boolean): ReconcileReport {
    const changes: string[] = [];
    const failures: { subject: string; message: string }[] = [];
    const attempt = (subject: string, work: () => readonly string[]) => {
      try {
        changes.push(...work());
      } catch (error) {
        failures.push({ subject, message: errorText(error) });
      }
    };
    this.#overlays = desired.overlays;
    if (verify) this.#dataPathMtu = undefined;
    const nat = [...this.#containers.values()].some((container) => natAddressOf(container) !== undefined);
    if (nat && verify) attempt('host', () => this.#outside.verify(this.#overlayFacts()));
    // As Docker has its bridge before the first container: clients ask for its addresses.
    else if (this.#adopted) attempt('host', () => this.#outside.nat.ensureOnce(this.#overlayFacts()));
    // Most changes are of endpoints' states, and touch containers alone. Reading the fabric back costs milliseconds.
    const fabric = JSON.stringify(desired.overlays);
    const sweep = verify || this.#sweepDue;
    if (sweep || fabric !== this.#fabricDone) {
      this.#reconcileFabric(attempt, sweep);
      this.#fabricDone = failures.length === 0 ? fabric : undefined;
    }
    if (sweep && this.#adopted) {
      attempt('host', () => this.#outside.removeLeftovers(this.#containers));
      attempt('host', () => this.#mendGuard());
    }
    if (failures.length === 0) this.#sweepDue = false;
    const ended = verify ? this.#releaseEnded() : [];
    const outer = verify && { fabric: dumpLinks(this.#fabric), host: dumpLinks(this.#host) };
    for (const { containerId, virtuals, forget } of desired.containers) {
      const container = this.#containers.get(containerId);
      if (!container) continue;
      attempt(containerId, () => {
        const made = outer
          ? [...container.restoreLinks(outer), ...container.verify(virtuals)]
          : container.balance(virtuals);
        container.forget(forget);
        return made;
      });
    }
    const { culprits, addr: bridgeAddr } = this.#outside.nat;
    return { changes, failures, ended, culprits, bridgeAddr };
  }

  /** Takes away everything but the containers' own namespaces: this host leaves the cluster. */
  destroy(): void {
    for (const containerId of this.#containers.keys()) this.#forgetContainer(containerId);
    this.#outside.remove();
    // The namespace's end takes its devices along, but later; a VXLAN holds its VNI until then.
    changeNetwork(
      inNetns(
        this.#fabric,
        dumpLinks(this.#fabric)
          .filter(({ name }) => name !== 'lo')
          .map(({ name }) => ({ kind: 'link-delete', name, tolerant: true })),
      ),
    );
    removeNetns(this.options.fabricPath);
    this.close();
  }

  /** Lets go of descriptors; the kernel's state stays for the next agent. */
  close(): void {
    for (const container of this.#containers.values()) container.close();
    this.#containers.clear();
    closeSync(this.#fabric);
    if (this.#host !== OWN_NETNS) closeSync(this.#host);
  }

  /** @param sweep take ports that are nobody's away too. Else they are about to end with their namespaces: faster. */
  #reconcileFabric(attempt: (subject: string, work: () => readonly string[]) => void, sweep: boolean): void {
    const mtu = this.#overlayMtu();
    const networks = this.#overlays.map((overlay) => this.#fabricNetwork(overlay, mtu));
    const places = { fabric: this.#fabric, host: this.#host };
    const links = dumpLinks(this.#fabric);
    const ports = new Set([...this.#containers.values()].flatMap(portsOf).map(({ name }) => name));
    const leftovers = planLeftovers(networks, links, this.#adopted && sweep ? ports : undefined);
    attempt('host', () => {
      changeNetwork(inNetns(this.#fabric, leftovers));
      return leftovers.map(({ name }) => `leftover ${name}`);
    });
    const state: FabricState = {
      links: links.filter((link) => !leftovers.some(({ name }) => name === link.name)),
      forwarding: dumpForwarding(this.#fabric),
      neighbours: dumpNeighbours(this.#fabric),
    };
    for (const network of networks) {
      attempt(network.networkId, () => {
        const changes = planNetwork(network, state, places);
        changeNetwork(changes);
        return changes.map((change) => `${change.kind} ${'name' in change ? change.name : ''}`);
      });
    }
  }

  /** Our descriptors keep a namespace whose container has ended and was never detached. */
  #releaseEnded(): string[] {
    const ended = Array.from(this.#containers.values())
      .filter((container) => !container.isInhabited())
      .map(({ containerId }) => containerId);
    for (const containerId of ended) this.#forgetContainer(containerId);
    return ended;
  }

  #mendGuard(): string[] {
    const ports = [...this.#containers.values()].flatMap(portsOf);
    const commands = planGuard(ports, listGuard(this.#fabric));
    if (commands === '') return [];
    changeRules(this.#fabric, commands);
    return ['guard of the fabric'];
  }

  #adoptOne(spec: ContainerSpec): Attached {
    this.#forgetContainer(spec.containerId);
    const name = `eth${spec.overlays.length}`;
    const netns = openNetns(`/proc/${spec.pid}/ns/net`);
    const index = dumpLinks(netns).find((link) => link.name === name)?.index;
    const own = dumpAddresses(netns).find((entry) => entry.index === index && entry.address.includes('.'));
    closeSync(netns);
    if (own) this.#outside.claim(spec.containerId, own, this.#overlayFacts());
    // What it has counts, not what it would be given now: its networks may not be known here yet.
    const container = this.#open(spec, own && this.#outside.linkFor(spec));
    this.#containers.set(spec.containerId, container);
    const sockets = container.adopt(spec.virtuals, spec.resolver);
    return { containerId: spec.containerId, sockets, ...this.#outside.rejoin(container, spec) };
  }

  #create(container: ContainerKernel, spec: ContainerSpec): Attached['sockets'] {
    try {
      return container.create(spec.virtuals, spec.resolver);
    } catch (error) {
      // Without its bridge a link cannot be made: somebody took it away since we looked.
      if (!(error instanceof NativeCallError) || error.code !== 'ENODEV') throw error;
      if (spec.nat) this.#outside.nat.ensure(this.#overlayFacts());
      this.#fabricDone = undefined;
      const { failures } = this.reconcile({ overlays: this.#overlays, containers: [] }, false);
      if (failures.length > 0) throw error;
      return container.create(spec.virtuals, spec.resolver);
    }
  }

  #open(spec: ContainerSpec, nat: ContainerLink | undefined): ContainerKernel {
    const mtu = this.#overlayMtu();
    const overlays = spec.overlays.map(({ networkId, address, mac }, index): ContainerLink => {
      const overlay = this.#overlays.find((candidate) => candidate.networkId === networkId);
      return {
        kind: 'overlay',
        name: `eth${index}`,
        port: portName(spec.containerId, networkId),
        bridge: bridgeName(networkId),
        mtu: Math.min(overlay?.mtu || mtu, mtu),
        mac,
        networkId,
        ...splitAddress(address),
      };
    });
    return new ContainerKernel(spec.containerId, spec.pid, nat ? [...overlays, nat] : overlays, {
      container: openNetns(`/proc/${spec.pid}/ns/net`),
      fabric: this.#fabric,
      host: this.#host,
    });
  }

  #forgetContainer(containerId: string): void {
    const container = this.#containers.get(containerId);
    if (!container) return;
    this.#containers.delete(containerId);
    container.close();
    this.#outside.release(containerId);
    // Networks may share address ranges, and then two containers have the same pair of MAC and address.
    const kept = new Set(
      [...this.#containers.values()].flatMap(portsOf).map(({ mac, address }) => mac + address),
    );
    const ports = portsOf(container).filter(({ mac, address }) => !kept.has(mac + address));
    if (ports.length > 0) this.#dismiss(ports);
  }

  #dismiss(ports: readonly FabricPort[]): void {
    try {
      changeRules(this.#fabric, ports.map(dismiss).join('\n'));
    } catch (error) {
      // Somebody changed the guard: the next verifying pass mends it.
      if (!(error instanceof NativeCallError) || error.code !== 'ENOENT') throw error;
    }
  }

  #fabricNetwork(overlay: OverlaySpec, mtu: number): FabricNetwork {
    const ports = [...this.#containers.values()].flatMap((container) =>
      portsOf(container).filter(({ networkId }) => networkId === overlay.networkId),
    );
    return { ...overlay, local: this.options.dataPathAddr, mtu: Math.min(overlay.mtu || mtu, mtu), ports };
  }

  #overlayFacts(): OverlayFacts {
    return {
      subnets: this.#overlays.flatMap(({ subnets }) => subnets),
      ports: [...new Set([DEFAULT_VXLAN_PORT, ...this.#overlays.map(({ port }) => port)])].sort(
        (a, b) => a - b,
      ),
    };
  }

  /** What the device that has the data path's address leaves room for. */
  #overlayMtu(): number {
    if (this.#dataPathMtu === undefined) {
      const own = dumpAddresses(this.#host).find(({ address }) => address === this.options.dataPathAddr);
      this.#dataPathMtu = dumpLinks(this.#host).find(({ index }) => index === own?.index)?.mtu ?? 1500;
    }
    return this.#dataPathMtu - VXLAN_OVERHEAD;
  }
}

const portsOf = (container: ContainerKernel): (FabricPort & { networkId: string })[] =>
  container.links
    .filter(({ kind }) => kind === 'overlay')
    .map(({ port, mac, address, networkId }) => ({ name: port, mac, address, networkId }));

const natAddressOf = (container: ContainerKernel): string | undefined =>
  container.links.find(({ kind }) => kind === 'nat')?.address;

function listGuard(fabric: Netns): readonly Record<string, unknown>[] | undefined {
  try {
    return listRules(fabric, `list table ${GUARD_TABLE}`);
  } catch (error) {
    if (error instanceof NativeCallError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Containers of an earlier life have their elements in a guard that is there; it is not made anew under them. */
const planGuardOrNothing = (fabric: Netns): string => (listGuard(fabric) ? '' : buildGuard([]));
