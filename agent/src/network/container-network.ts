import type { NetworkAttachment } from '@tessera/shared/model';

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
}

/** Files the executor binds over the ones in the container's root. */
export interface NetworkFiles {
  readonly resolvConf: string;
  readonly hosts: string;
}

/** What the executor asks of the network part. Every call may be repeated after a crash. */
export interface ContainerNetwork {
  /** Contents of /etc/resolv.conf and /etc/hosts, known before the namespaces exist. */
  files(spec: {
    readonly hostname: string;
    readonly attachments: readonly NetworkAttachment[];
    readonly extraHosts: readonly string[];
    readonly dnsServers: readonly string[];
    readonly dnsSearch: readonly string[];
    readonly dnsOptions: readonly string[];
  }): NetworkFiles;
  /** Joins the namespace to its networks: links, addresses, routes, resolver, virtual addresses. */
  attach(sandbox: Sandbox, signal: AbortSignal): Promise<void>;
  /** Forgets the container. Its links die with its namespace; this removes what would not. */
  detach(containerId: string): Promise<void>;
  /** After the agent's restart: containers that live on, so that nothing of theirs is taken for a leftover. */
  adopt(sandboxes: readonly Sandbox[]): Promise<void>;
}
