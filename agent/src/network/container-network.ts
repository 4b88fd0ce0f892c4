import type { NetworkAttachment, PortBinding } from '@tessera/shared/model';

/** A container's namespaces, made and waiting: its process has not executed the command yet. */
export interface Sandbox {
  readonly containerId: string;
  readonly taskId: string;
  /** A process in the container's network namespace, alive for the time of the call. */
  readonly pid: number;
  readonly attachments: readonly NetworkAttachment[];
  readonly hostname: string;
  /** Servers the user named, asked instead of the host's about names that are not the cluster's. */
  readonly dnsServers?: readonly string[];
  /** A loopback interface and nothing else, also no way to the outside. */
  readonly isolated?: boolean;
  /** It may reach other such containers of this host by the bridge to the outside, as on Docker's default bridge. */
  readonly isOpen?: boolean;
  /** Ports of the host that are to lead to it. */
  readonly publish?: readonly PortBinding[];
}

/** What a container was given on this host alone. */
export interface LocalAttachment {
  /** Its address on the bridge to the outside, with prefix length; empty where it has none. */
  readonly address: string;
  readonly mac: string;
  /** As they are, those of the node's choice filled in. */
  readonly ports: readonly PortBinding[];
}

/** Files the executor binds over the ones in the container's root. */
export interface NetworkFiles {
  readonly resolvConf: string;
  readonly hosts: string;
}

/** What the executor asks of the network part. Every call may be repeated after a crash. */
export interface ContainerNetwork {
  /** Contents of /etc/resolv.conf and /etc/hosts. */
  files(spec: {
    readonly hostname: string;
    readonly domainname?: string;
    readonly attachments: readonly NetworkAttachment[];
    /** On the bridge to the outside, once it is known; with prefix length. */
    readonly localAddress?: string;
    readonly extraHosts: readonly string[];
    readonly dnsServers: readonly string[];
    readonly dnsSearch: readonly string[];
    readonly dnsOptions: readonly string[];
  }): NetworkFiles;
  /** Joins the namespace to its networks: links, addresses, routes, resolver, virtual addresses. */
  attach(sandbox: Sandbox, signal: AbortSignal): Promise<LocalAttachment>;
  /**
   * Forgets the container. Its links die with its namespace; this removes what would not.
   *
   * @param isShared other containers have joined the namespace, and may live on in it
   */
  detach(containerId: string, isShared?: boolean): Promise<void>;
  /** After the agent's restart: containers that live on, so that nothing of theirs is taken for a leftover. */
  adopt(sandboxes: readonly Sandbox[]): Promise<void>;
}
