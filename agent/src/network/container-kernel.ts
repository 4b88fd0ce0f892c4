import { closeSync, fstatSync, statSync } from 'node:fs';
import {
  changeNetwork,
  changeRules,
  forgetConnections,
  inNetns,
  type Link,
  listRules,
  NativeCallError,
  type Netns,
  type NetnsSocket,
  openSocket,
} from '@tessera/native';
import {
  buildTable,
  type Contents,
  contentsFor,
  DROP_TABLE,
  NOTHING,
  parseTable,
  planContents,
  type ResolverPorts,
  setResolver,
  TABLE,
} from './balance.js';
import { type ContainerLink, type LinkPlaces, planLinks, planNatPort } from './container-links.js';
import type { Attached, VirtualAddresses } from './kernel-types.js';
import { RESOLVER_ADDRESS } from './network-files.js';

/** One container's namespace: its links and its table. Every call blocks. */
export class ContainerKernel {
  #contents = NOTHING;
  #picks: ReadonlySet<number> = new Set();
  #resolver: ResolverPorts | undefined;

  /** @param places takes over the container's descriptor: `close` closes it */
  constructor(
    readonly containerId: string,
    private readonly pid: number,
    readonly links: readonly ContainerLink[],
    private readonly places: LinkPlaces,
  ) {}

  /**
   * Makes links and table in a fresh namespace.
   *
   * @param resolver false: links alone, for a container without a network of the cluster
   */
  create(virtuals: VirtualAddresses, resolver: boolean): Attached['sockets'] {
    const isFresh = this.#createLinks();
    if (!resolver) return undefined;
    const sockets = this.#openSockets();
    try {
      const contents = contentsFor(virtuals, new Map());
      const table = buildTable(this.#resolver, contents);
      changeRules(this.places.container, isFresh ? table : `${DROP_TABLE}\n${table}`);
      this.#picks = new Set();
      this.#note(contents);
    } catch (error) {
      closeSync(sockets.udp.fd);
      closeSync(sockets.tcp.fd);
      this.#resolver = undefined;
      throw error;
    }
    return sockets;
  }

  /** Takes over a namespace that an earlier agent made: new resolver sockets, the rest as it is where it is right. */
  adopt(virtuals: VirtualAddresses, resolver: boolean): Attached['sockets'] {
    if (!resolver) return undefined;
    // At the ports of before: what was asked meanwhile is repeated there, as the kernel remembers.
    const before = this.#read()?.resolver;
    const sockets = this.#openSockets(before);
    this.verify(virtuals);
    // Where they could not be had, the kernel must not remember them either.
    if (before?.udp !== sockets.udp.port || before.tcp !== sockets.tcp.port) this.forget([RESOLVER_ADDRESS]);
    return sockets;
  }

  /**
   * Makes the links whose outer ends are gone (with them went the inner ones), and puts those that lost their bridge
   * back. The fabric's own planning sees to the ports of overlays.
   *
   * @param outer links of fabric and host
   */
  restoreLinks(outer: { readonly fabric: readonly Link[]; readonly host: readonly Link[] }): string[] {
    const present = new Map([...outer.fabric, ...outer.host].map((link) => [link.name, link]));
    const missing = this.links.filter(({ port }) => !present.has(port));
    if (missing.length > 0) changeNetwork(planLinks(missing, this.places));
    const astray = this.links.filter(({ kind, port, bridge }) => {
      const link = kind === 'nat' ? present.get(port) : undefined;
      return link && link.master !== present.get(bridge)?.index;
    });
    changeNetwork(inNetns(this.places.host, astray.flatMap(planNatPort)));
    return [...missing, ...astray].map(({ name, port }) => `link ${name} (${port}) of ${this.containerId}`);
  }

  /** Brings the balance from what it was to what it should be, touching elements alone. */
  balance(virtuals: VirtualAddresses): string[] {
    if (!this.#resolver) return [];
    const after = contentsFor(virtuals, this.#contents.balance);
    const commands = planContents(this.#contents, after, this.#picks);
    if (commands === '') return [];
    this.#run(this.places.container, commands);
    this.#note(after);
    return [`virtual addresses of container ${this.containerId}`];
  }

  /** Reads the table back and mends it; rebuilds it when more than elements is wrong. */
  verify(virtuals: VirtualAddresses): string[] {
    if (!this.#resolver) return [];
    const state = this.#read();
    if (!state) {
      this.#rebuild(virtuals);
      return [`table of container ${this.containerId}`];
    }
    this.#contents = state.contents;
    this.#picks = state.picks;
    const changes = this.balance(virtuals);
    const { udp, tcp } = this.#resolver ?? {};
    if (this.#resolver && (state.resolver?.udp !== udp || state.resolver?.tcp !== tcp)) {
      changeRules(this.places.container, setResolver(this.#resolver));
      changes.push(`resolver of container ${this.containerId}`);
    }
    return changes;
  }

  /** Whether the process it was opened by is still in it. */
  isInhabited(): boolean {
    const { pid, places } = this;
    return (
      statSync(`/proc/${pid}/ns/net`, { throwIfNoEntry: false })?.ino === fstatSync(places.container).ino
    );
  }

  forget(addresses: readonly string[]): number {
    return forgetConnections(this.places.container, addresses);
  }

  /** Lets go of the namespace, which ends with its last process and socket. */
  close(): void {
    closeSync(this.places.container);
  }

  /** False when an earlier attempt had been here. */
  #createLinks(): boolean {
    try {
      changeNetwork(planLinks(this.links, this.places));
      return true;
    } catch (error) {
      if (!(error instanceof NativeCallError) || error.code !== 'EEXIST') throw error;
      // Of an attempt that a crash cut short. Each outer end takes its inner one with it.
      this.removeLinks();
      changeNetwork(planLinks(this.links, this.places));
      return false;
    }
  }

  /** Slow (tens of milliseconds each): for failures only; links otherwise end with their namespace. */
  removeLinks(): void {
    changeNetwork(
      this.links.map(({ port, kind }) => ({
        kind: 'link-delete',
        name: port,
        tolerant: true,
        netns: kind === 'overlay' ? this.places.fabric : this.places.host,
      })),
    );
  }

  #openSockets(ports?: ResolverPorts): NonNullable<Attached['sockets']> {
    const udp = this.#openSocket('udp', ports?.udp ?? 0);
    const tcp = this.#openSocket('tcp', ports?.tcp ?? 0);
    this.#resolver = { udp: udp.port, tcp: tcp.port };
    return { udp, tcp };
  }

  #openSocket(type: 'udp' | 'tcp', port: number): NetnsSocket {
    try {
      return openSocket(this.places.container, type, { bind: RESOLVER_ADDRESS, port });
    } catch (error) {
      if (port === 0 || !(error instanceof NativeCallError) || error.code !== 'EADDRINUSE') throw error;
      // A program of the container's has taken it meanwhile.
      return this.#openSocket(type, 0);
    }
  }

  #read(): ReturnType<typeof parseTable> {
    try {
      return parseTable(listRules(this.places.container, `list table ${TABLE}`));
    } catch (error) {
      if (error instanceof NativeCallError && error.code === 'ENOENT') return undefined;
      throw error;
    }
  }

  #rebuild(virtuals: VirtualAddresses): void {
    const contents = contentsFor(virtuals, this.#contents.balance);
    changeRules(this.places.container, `${DROP_TABLE}\n${buildTable(this.#resolver, contents)}`);
    this.#picks = new Set();
    this.#note(contents);
  }

  #run(netns: Netns, commands: string): void {
    try {
      changeRules(netns, commands);
    } catch (error) {
      // The table is not what we remember: the next pass reads it, and must not trust the memory before.
      const state = this.#read();
      this.#contents = state?.contents ?? NOTHING;
      this.#picks = state?.picks ?? new Set();
      throw error;
    }
  }

  #note(contents: Contents): void {
    this.#contents = contents;
    const counts = Array.from(contents.balance.values(), ({ length }) => length);
    this.#picks = new Set([...this.#picks, ...counts]);
  }
}
