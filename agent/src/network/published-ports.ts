import { closeSync } from 'node:fs';
import {
  changeNetwork,
  changeRules,
  inNetns,
  listRules,
  NativeCallError,
  type Netns,
  openSocket,
} from '@tessera/native';
import { ClusterError, invalid } from '@tessera/shared/errors';
import type { PublishedPort } from './kernel-types.js';

/** Ports of the node's choice. Source: net.ipv4.ip_local_port_range's default, which Docker draws from. */
const RANDOM_MIN = 32_768;
const RANDOM_MAX = 60_999;
const ANY = '0.0.0.0';
const PROTOCOLS = ['tcp', 'udp'] as const;

interface Held {
  readonly port: PublishedPort;
  readonly fd: number;
}

/** The table's name; of its own, since its elements come and go. */
export const portTableName = (bridge: string): string => `ip tessera-${bridge}-ports`;

/**
 * The nft commands that make the table: what comes to a published port of the host, from outside, from the host or
 * from a container, goes to its container. Whatever reaches 127.0.0.0/8 that way has a source of the host's.
 */
export function portTable(bridge: string, subnet: string): string {
  const name = portTableName(bridge);
  return [
    `add table ${name}`,
    ...PROTOCOLS.flatMap((protocol) => [
      `add map ${name} any-${protocol} { type inet_service : ipv4_addr . inet_service; }`,
      `add map ${name} bound-${protocol} { type ipv4_addr . inet_service : ipv4_addr . inet_service; }`,
    ]),
    `add chain ${name} publish`,
    ...PROTOCOLS.flatMap((protocol) => [
      `add rule ${name} publish dnat ip addr . port to ip daddr . ${protocol} dport map @bound-${protocol}`,
      `add rule ${name} publish dnat ip addr . port to ${protocol} dport map @any-${protocol}`,
    ]),
    `add chain ${name} arriving { type nat hook prerouting priority dstnat; }`,
    `add rule ${name} arriving fib daddr type local jump publish`,
    // dstnat, which nft does not know as a word in this hook.
    `add chain ${name} own { type nat hook output priority -100; }`,
    `add rule ${name} own fib daddr type local jump publish`,
    `add chain ${name} back { type nat hook postrouting priority srcnat; }`,
    `add rule ${name} back oifname "${bridge}" ct status dnat ip saddr { 127.0.0.0/8, ${subnet} } masquerade`,
    // The bridge routes 127.0.0.0/8 for the host's own connections; containers must not reach its loopback by it.
    `add chain ${name} loopback { type filter hook prerouting priority raw; }`,
    `add rule ${name} loopback iifname "${bridge}" ip daddr 127.0.0.0/8 drop`,
  ].join('\n');
}

/** The ports of the host that lead to containers on the NAT bridge. Every call blocks. */
export class PublishedPorts {
  readonly #held = new Map<string, readonly Held[]>();
  readonly #addresses = new Map<string, string>();
  #hasTable = false;
  #nextRandom = RANDOM_MIN;

  constructor(
    private readonly host: Netns,
    private readonly bridge: string,
    /** Of the bridge; known once it has been made. */
    private readonly subnet: () => string,
  ) {}

  get isEmpty(): boolean {
    return this.#held.size === 0;
  }

  /**
   * Leads ports of the host to a container, and keeps others from taking them. May be repeated.
   *
   * @param address the container's, on the bridge
   * @returns the ports as they are, those of the node's choice filled in
   * @throws ClusterError `conflict` when one is taken, by another container or by a program of the host
   */
  publish(containerId: string, address: string, wanted: readonly PublishedPort[]): PublishedPort[] {
    this.release(containerId);
    if (wanted.length === 0) return [];
    const held: Held[] = [];
    try {
      for (const port of wanted) held.push(this.#hold(port, held));
      const ports = held.map(({ port }) => port);
      this.#ensureTable();
      changeRules(this.host, ports.map((port) => `add ${this.#element(port, address)}`).join('\n'));
      this.#held.set(containerId, held);
      this.#addresses.set(containerId, address);
      return ports;
    } catch (error) {
      for (const { fd } of held) closeSync(fd);
      throw error;
    }
  }

  /** May be repeated. */
  release(containerId: string): void {
    const held = this.#held.get(containerId);
    if (!held) return;
    const address = this.#addresses.get(containerId)!;
    this.#held.delete(containerId);
    this.#addresses.delete(containerId);
    for (const { fd } of held) closeSync(fd);
    try {
      const commands = held.map(({ port }) => `delete ${this.#element(port, address)}`);
      changeRules(this.host, commands.join('\n'));
    } catch (error) {
      // Somebody took the table, or elements of it: it is made anew, from what is held.
      if (!(error instanceof NativeCallError)) throw error;
      this.#rebuild();
    }
  }

  /** Makes the table again when somebody has changed it. */
  verify(): string[] {
    if (this.isEmpty || this.#isWhole()) return [];
    this.#rebuild();
    return [`published ports of ${this.bridge}`];
  }

  /** Takes the table away. May be repeated. */
  remove(): void {
    const name = portTableName(this.bridge);
    changeRules(this.host, `add table ${name}\ndelete table ${name}`);
    for (const held of this.#held.values()) for (const { fd } of held) closeSync(fd);
    this.#held.clear();
    this.#addresses.clear();
    this.#hasTable = false;
  }

  #hold(wanted: PublishedPort, alongside: readonly Held[]): Held {
    const { protocol, hostIp } = wanted;
    if (protocol !== 'tcp' && protocol !== 'udp')
      throw invalid(`HostConfig.PortBindings: protocol "${protocol}" cannot be published: use tcp or udp`);
    if (hostIp.includes(':'))
      throw invalid(
        `HostConfig.PortBindings: "${hostIp}": published ports are IPv4 alone: use an IPv4 address`,
      );
    const ip = hostIp === '' ? ANY : hostIp;
    if (wanted.hostPort > 0) return this.#bind({ ...wanted, hostIp: ip }, alongside);
    for (let tries = RANDOM_MIN; tries <= RANDOM_MAX; tries++) {
      const hostPort = this.#nextRandom;
      this.#nextRandom = hostPort >= RANDOM_MAX ? RANDOM_MIN : hostPort + 1;
      try {
        return this.#bind({ ...wanted, hostIp: ip, hostPort }, alongside);
      } catch (error) {
        if (!(error instanceof ClusterError) || error.kind !== 'conflict') throw error;
      }
    }
    throw new ClusterError('resourceExhausted', 'all dynamic ports of this node are taken');
  }

  #bind(port: PublishedPort, alongside: readonly Held[]): Held {
    const { protocol, hostIp, hostPort } = port;
    const all = [...this.#held.values()].flat().concat(alongside);
    const taken = all.some(
      ({ port: other }) =>
        other.protocol === protocol &&
        other.hostPort === hostPort &&
        (other.hostIp === hostIp || other.hostIp === ANY || hostIp === ANY),
    );
    // Docker's words.
    const conflict = `Bind for ${hostIp}:${hostPort} failed: port is already allocated`;
    if (taken) throw new ClusterError('conflict', conflict);
    try {
      const { fd } = openSocket(this.host, protocol as 'tcp' | 'udp', { bind: hostIp, port: hostPort });
      return { port, fd };
    } catch (error) {
      if (!(error instanceof NativeCallError)) throw error;
      if (error.code === 'EADDRINUSE') throw new ClusterError('conflict', conflict);
      if (error.code === 'EADDRNOTAVAIL')
        throw invalid(`HostConfig.PortBindings: this node has no address ${hostIp}: use one of its own`);
      throw error;
    }
  }

  #element({ protocol, hostIp, hostPort, containerPort }: PublishedPort, address: string): string {
    const name = portTableName(this.bridge);
    const to = `${address} . ${containerPort}`;
    return hostIp === ANY
      ? `element ${name} any-${protocol} { ${hostPort} : ${to} }`
      : `element ${name} bound-${protocol} { ${hostIp} . ${hostPort} : ${to} }`;
  }

  #ensureTable(): void {
    if (this.#hasTable) return;
    const name = portTableName(this.bridge);
    // One of an earlier agent leads to containers that may have gone.
    changeRules(
      this.host,
      `add table ${name}\ndelete table ${name}\n${portTable(this.bridge, this.subnet())}`,
    );
    // Behind the rule that keeps containers out: now the host reaches what it publishes at 127.0.0.1 too.
    const path = `ipv4/conf/${this.bridge}/route_localnet`;
    changeNetwork(inNetns(this.host, [{ kind: 'sysctl', path, value: '1' }]));
    this.#hasTable = true;
  }

  #rebuild(): void {
    this.#hasTable = false;
    this.#ensureTable();
    const commands = [...this.#held].flatMap(([id, held]) =>
      held.map(({ port }) => `add ${this.#element(port, this.#addresses.get(id)!)}`),
    );
    if (commands.length > 0) changeRules(this.host, commands.join('\n'));
  }

  /** Every element is there, and every chain. */
  #isWhole(): boolean {
    try {
      const listing = listRules(this.host, `list table ${portTableName(this.bridge)}`);
      const count = (kind: string) => listing.filter((object) => kind in object).length;
      const elements = listing.flatMap((object) =>
        'map' in object ? ((object.map as { elem?: unknown[] }).elem ?? []) : [],
      );
      const held = [...this.#held.values()].reduce((sum, { length }) => sum + length, 0);
      return count('chain') === CHAINS && count('rule') === RULES && elements.length === held;
    } catch (error) {
      if (error instanceof NativeCallError && error.code === 'ENOENT') return false;
      throw error;
    }
  }
}

const made = portTable('bridge', '10.0.0.0/24').split('\n');
const CHAINS = made.filter((line) => line.startsWith('add chain')).length;
const RULES = made.filter((line) => line.startsWith('add rule')).length;
