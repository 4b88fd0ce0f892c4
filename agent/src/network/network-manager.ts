import { isIPv6 } from 'node:net';
import { type Clock, delay, type Logger, type Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { ContainerNetwork, LocalAttachment, NetworkFiles, Sandbox } from './container-network.js';
import { goneAddresses, isOverlay, overlaysOf, virtualsOf } from './desired-overlays.js';
import { DnsForwarder, HostResolvers, type Outside, type Upstream } from './dns/forwarder.js';
import { NameIndex } from './dns/name-index.js';
import { NetnsOutside } from './dns/netns-outside.js';
import { ContainerResolver } from './dns/resolver.js';
import { KernelThread, type RemoteHostKernel } from './kernel-thread.js';
import type { Attached, ContainerSpec, HostOptions, VirtualAddresses } from './kernel-types.js';
import { KnownBridge } from './known-bridge.js';
import { isLoopback, networkFiles, RESOLVER_ADDRESS } from './network-files.js';
import type { DesiredNetworks, NetworkPlane } from './network-plane.js';

export interface NetworkManagerOptions extends HostOptions {
  readonly nodeId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  /** The host's resolvers; undefined: those of its /etc/resolv.conf. */
  readonly resolvers?: { get(): readonly Upstream[] };
  readonly outside?: Outside;
  /** Shared with other hosts in tests and benches; undefined: a thread of its own. */
  readonly thread?: KernelThread;
}

/** How often everything is read back and mended. */
const VERIFY_MS = 60_000;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 30_000;
/** How long a container waits for its networks to be known here. */
const NETWORK_WAIT_MS = 15_000;

interface Container {
  readonly sandbox: Sandbox;
  readonly networkIds: readonly string[];
  readonly resolver: ContainerResolver | undefined;
  /** Its own network, where it has servers of its own to ask. */
  readonly outside: NetnsOutside | undefined;
}

const NOTHING: DesiredNetworks = { networks: [], endpoints: [], virtualServices: [] };

/**
 * This node's part of the cluster's networks: what the manager desires and the containers that are here, brought
 * into the kernel on each change and read back every minute.
 */
export class NetworkManager implements ContainerNetwork, NetworkPlane {
  readonly bridge = new KnownBridge();
  readonly #forwarder: DnsForwarder;
  readonly #resolvers: { get(): readonly Upstream[] };
  /** The host's resolvers listen on its loopback: only through ours can any container reach them. */
  #needsResolver = false;
  readonly #containers = new Map<string, Container>();
  readonly #logger: Logger;
  #desired = NOTHING;
  #names = new NameIndex(NOTHING);
  /** Before the first word on what is desired, nothing that is there can be wrong. */
  #hasDesired = false;
  /** Addresses whose connections the next pass forgets, by network. */
  #gone = new Map<string, string[]>();
  /** What the last pass could not bring about, by network id. */
  #failures: ReadonlyMap<string, string> = new Map();
  #pass: Promise<void> | undefined;
  #nextPass: Promise<void> | undefined;
  #verifyNext = false;
  #retryMs = RETRY_MIN_MS;
  #cancelRetry = () => {};
  #cancelVerify = () => {};
  #closed = false;
  #applied: (() => void)[] = [];

  private constructor(
    private readonly options: NetworkManagerOptions,
    private readonly kernel: RemoteHostKernel,
    private readonly ownThread: KernelThread | undefined,
  ) {
    this.#logger = options.logger.child({ module: 'network' });
    this.#forwarder = new DnsForwarder(options.clock, options.outside);
    this.#resolvers = options.resolvers ?? new HostResolvers(options.clock);
    this.#scheduleVerify();
  }

  /** Opens the host's namespaces, making the fabric where there is none. */
  static async open(options: NetworkManagerOptions): Promise<NetworkManager> {
    const ownThread = options.thread ? undefined : new KernelThread();
    const thread = options.thread ?? (ownThread as KernelThread);
    const { hostNetns, fabricPath, natBridge, dataPathAddr } = options;
    const kernel = await thread.openHost({ hostNetns, fabricPath, natBridge, dataPathAddr });
    return new NetworkManager(options, kernel, ownThread);
  }

  async apply(desired: DesiredNetworks, sequence: number): Promise<void> {
    for (const [networkId, addresses] of goneAddresses(this.#desired, desired))
      this.#gone.set(networkId, [...(this.#gone.get(networkId) ?? []), ...addresses]);
    this.#desired = desired;
    this.#names = new NameIndex(desired);
    this.#hasDesired = true;
    await this.#runPass();
    this.#logger.debug({ sequence }, 'networks applied');
    for (const wake of this.#applied.splice(0)) wake();
  }

  files(spec: Parameters<ContainerNetwork['files']>[0]): NetworkFiles {
    const host = this.#resolvers.get();
    const reachable = host.filter(({ host: server }) => !isLoopback(server));
    if (host.length > 0 && reachable.length === 0) this.#needsResolver = true;
    const servers = this.#needsResolver ? undefined : reachable.map(({ host: server }) => server);
    return networkFiles(spec, servers, this.bridge.addr.replace(/\/.*/, ''));
  }

  async attach(sandbox: Sandbox, signal: AbortSignal): Promise<LocalAttachment> {
    await this.#networksKnown(sandbox, signal);
    signal.throwIfAborted();
    this.#forget(sandbox.containerId);
    const desired = this.#desired;
    const attached = await this.kernel.attach(this.#specOf(sandbox));
    await this.#enrol(sandbox, attached);
    // What was applied meanwhile did not know of this container.
    if (this.#desired !== desired) await this.#runPass();
    const { natAddress = '', natMac = '', ports } = attached;
    return { address: natAddress, mac: natMac, ports: [...ports] };
  }

  async detach(containerId: string, isShared = false): Promise<void> {
    this.#forget(containerId);
    await this.kernel.detach(containerId, isShared);
  }

  async adopt(sandboxes: readonly Sandbox[]): Promise<void> {
    const adopted = await this.kernel.adopt(sandboxes.map((sandbox) => this.#specOf(sandbox)));
    const byId = new Map(sandboxes.map((sandbox) => [sandbox.containerId, sandbox]));
    for (const attached of adopted) await this.#enrol(byId.get(attached.containerId) as Sandbox, attached);
    // Now what nobody claimed is a leftover. Each container has just been verified; once is enough for a busy start.
    void this.#runPass().catch(this.#onPassFailed);
  }

  /** Reads everything back and mends what is not as desired. Runs by itself every minute. */
  async verify(): Promise<void> {
    await this.#runPass(true);
  }

  /** Stops. What is in the kernel stays, for containers live on. */
  async close(): Promise<void> {
    await this.#stop();
    await this.kernel.close();
    await this.ownThread?.close();
  }

  /** Takes away what this host has of the cluster's networks. For a host that leaves. */
  async destroy(): Promise<void> {
    await this.#stop();
    await this.kernel.destroy();
    await this.ownThread?.close();
  }

  async #stop(): Promise<void> {
    this.#closed = true;
    this.#cancelRetry();
    this.#cancelVerify();
    await Promise.allSettled([this.#pass, this.#nextPass]);
    for (const containerId of this.#containers.keys()) this.#forget(containerId);
  }

  #forget(containerId: string): void {
    const container = this.#containers.get(containerId);
    container?.resolver?.close();
    container?.outside?.close();
    this.#containers.delete(containerId);
  }

  async #enrol(sandbox: Sandbox, { sockets }: Attached): Promise<void> {
    this.#forget(sandbox.containerId);
    const networkIds = sandbox.attachments.map(({ networkId }) => networkId);
    const outside = sockets && this.#outsideOf(sandbox);
    const resolver =
      sockets &&
      (await ContainerResolver.open(
        { udpFd: sockets.udp.fd, tcpFd: sockets.tcp.fd },
        {
          view: () => ({ index: this.#names, networkIds }),
          upstreams: () => this.#upstreamsOf(sandbox, outside),
          forwarder: this.#forwarder,
          random: this.options.random,
          logger: this.#logger.child({ 'task.id': sandbox.taskId }),
        },
      ));
    this.#containers.set(sandbox.containerId, { sandbox, networkIds, resolver, outside });
  }

  /** Undefined when it has no servers of its own, or has ended meanwhile. */
  #outsideOf({ dnsServers, pid }: Sandbox): NetnsOutside | undefined {
    if (!dnsServers?.length) return undefined;
    try {
      return new NetnsOutside(`/proc/${pid}/ns/net`);
    } catch {
      return undefined;
    }
  }

  /**
   * The user's servers are asked from the container's own network, as Docker does it: they may be containers beside
   * it, and what it cannot reach itself it does not reach through us.
   */
  #upstreamsOf(
    { dnsServers = [], attachments }: Sandbox,
    own: NetnsOutside | undefined,
  ): readonly Upstream[] {
    const reachesOutside = this.#reachesOutside(attachments.map(({ networkId }) => networkId));
    if (dnsServers.length === 0) return reachesOutside ? this.#resolvers.get() : [];
    return dnsServers.flatMap((host): Upstream[] => {
      // Containers have no IPv6; those that reach the world reach these servers through the host.
      if (isIPv6(host)) return reachesOutside && !isLoopback(host) ? [{ host, port: 53 }] : [];
      // It would ask itself.
      return own && host !== RESOLVER_ADDRESS ? [{ host, port: 53, outside: own }] : [];
    });
  }

  /** A container on internal networks alone neither sends packets nor asks questions outside (CVE-2024-29018). */
  #reachesOutside(networkIds: readonly string[]): boolean {
    if (networkIds.length === 0) return true;
    return this.#desired.networks.some(
      ({ network }) => network && networkIds.includes(network.id) && !network.spec?.internal,
    );
  }

  #specOf(sandbox: Sandbox): ContainerSpec {
    const { containerId, pid, attachments, isolated = false, isOpen = false, publish = [] } = sandbox;
    const networkIds = attachments.map(({ networkId }) => networkId);
    return {
      containerId,
      pid,
      overlays: attachments.map(({ networkId, addr, mac }) => ({ networkId, address: addr, mac })),
      nat: !isolated && this.#reachesOutside(networkIds),
      resolver: !isolated && (networkIds.length > 0 || this.#needsResolver),
      virtuals: virtualsOf(this.#desired, networkIds),
      isOpen,
      publish: publish.map(({ protocol, containerPort, hostIp, hostPort }) => ({
        protocol,
        containerPort,
        hostIp,
        hostPort,
      })),
    };
  }

  /** Waits until every network of the container is here. */
  async #networksKnown({ attachments }: Sandbox, signal: AbortSignal): Promise<void> {
    const giveUpAt = this.options.clock.monotonic() + NETWORK_WAIT_MS;
    for (;;) {
      const missing = attachments.find(({ networkId }) => !this.#isHere(networkId));
      if (!missing) return;
      const leftMs = giveUpAt - this.options.clock.monotonic();
      if (leftMs <= 0) {
        const reason = this.#failures.get(missing.networkId) ?? 'the manager has not sent it yet';
        throw new ClusterError('unavailable', `network ${missing.networkId} is not on this node: ${reason}`);
      }
      const waiting = new AbortController();
      const next = new Promise<void>((resolve) => this.#applied.push(resolve));
      const timeout = delay(this.options.clock, leftMs, AbortSignal.any([signal, waiting.signal]));
      // The delay's rejection matters only while it is what we wait for.
      await Promise.race([next, timeout]).finally(() => {
        waiting.abort();
        timeout.catch(() => {});
      });
    }
  }

  #isHere(networkId: string): boolean {
    if (this.#failures.has(networkId)) return false;
    return this.#desired.networks.some(
      (assignment) => assignment.network?.id === networkId && isOverlay(assignment),
    );
  }

  /** One pass at a time, and at most one waiting: it will see whatever is desired by then. */
  #runPass(verify = false): Promise<void> {
    this.#verifyNext ||= verify;
    if (!this.#pass) {
      this.#pass = this.#reconcile().finally(() => {
        this.#pass = undefined;
      });
      return this.#pass;
    }
    this.#nextPass ??= this.#pass
      .catch(() => {})
      .then(() => {
        this.#nextPass = undefined;
        return this.#runPass();
      });
    return this.#nextPass;
  }

  async #reconcile(): Promise<void> {
    const verify = this.#verifyNext;
    this.#verifyNext = false;
    if (!this.#hasDesired) return;
    const gone = this.#gone;
    this.#gone = new Map();
    // Containers of one service are on the same networks; one list serves them all, and is sent once.
    const known = new Map<string, VirtualAddresses>();
    const virtuals = (networkIds: readonly string[]): VirtualAddresses => {
      const key = networkIds.join();
      const list = known.get(key) ?? virtualsOf(this.#desired, networkIds);
      known.set(key, list);
      return list;
    };
    const report = await this.kernel
      .reconcile(
        {
          overlays: overlaysOf(this.#desired, this.options.nodeId),
          containers: Array.from(this.#containers.values(), ({ sandbox, networkIds }) => ({
            containerId: sandbox.containerId,
            virtuals: virtuals(networkIds),
            forget: networkIds.flatMap((id) => gone.get(id) ?? []),
          })),
        },
        verify,
      )
      .catch((error: unknown) => {
        for (const [id, addresses] of gone) this.#gone.set(id, [...addresses, ...(this.#gone.get(id) ?? [])]);
        throw error;
      });
    this.bridge.learn(report.bridgeAddr);
    this.#failures = new Map(report.failures.map(({ subject, message }) => [subject, message]));
    for (const containerId of report.ended) this.#forget(containerId);
    if (verify && report.changes.length > 0)
      this.#logger.warn({ changes: report.changes }, 'networks were not as desired and have been mended');
    for (const { subject, message } of report.failures)
      this.#logger.error({ subject, error: message }, 'network could not be brought to what it should be');
    for (const chain of report.culprits)
      this.#logger.warn({ chain }, 'a foreign nftables chain drops forwarded packets of containers');
    if (report.failures.length > 0) this.#retryLater();
    else this.#retryMs = RETRY_MIN_MS;
  }

  /** Reading everything back: what failed may have been changed by somebody. */
  #retryLater(): void {
    this.#cancelRetry();
    if (this.#closed) return;
    this.#cancelRetry = this.options.clock.after(this.#retryMs, () => {
      void this.#runPass(true).then(() => {
        for (const wake of this.#applied.splice(0)) wake();
      }, this.#onPassFailed);
    });
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  #scheduleVerify(): void {
    this.#cancelVerify = this.options.clock.after(VERIFY_MS, () => {
      void this.#runPass(true)
        .catch(this.#onPassFailed)
        .finally(() => {
          if (!this.#closed) this.#scheduleVerify();
        });
    });
  }

  readonly #onPassFailed = (error: unknown): void => {
    if (!this.#closed) this.#logger.error({ error }, 'network pass failed');
  };
}
