import type { NetnsSocket } from '@tessera/native';
import type { RemoteEndpoint } from './fabric-plan.js';

// What the network manager and the thread that talks to the kernel say to each other: plain, cloneable values.

export interface HostOptions {
  /** The host's network namespace as a path; undefined: the process's own. */
  readonly hostNetns?: string | undefined;
  /** Where the fabric's namespace is bound, in a directory that ends with the host's boot. */
  readonly fabricPath: string;
  readonly natBridge: string;
  /** This host's address on the data path. */
  readonly dataPathAddr: string;
}

/** An overlay network as this host is to have it. */
export interface OverlaySpec {
  readonly networkId: string;
  readonly vni: number;
  readonly port: number;
  /** 0: what the data path leaves room for. */
  readonly mtu: number;
  readonly subnets: readonly string[];
  readonly remotes: readonly RemoteEndpoint[];
}

export type VirtualAddresses = readonly {
  readonly vip: string;
  /** Its ready endpoints. */
  readonly backends: readonly string[];
  /** Its other endpoints, which may still have connections. */
  readonly others: readonly string[];
}[];

export interface ContainerSpec {
  readonly containerId: string;
  /** A process in its namespace. */
  readonly pid: number;
  readonly overlays: readonly {
    readonly networkId: string;
    /** With prefix length. */
    readonly address: string;
    readonly mac: string;
  }[];
  /** Whether it has a way to the outside. */
  readonly nat: boolean;
  /** Whether names are answered at 127.0.0.11, and virtual addresses balanced. */
  readonly resolver: boolean;
  readonly virtuals: VirtualAddresses;
  /** Others on the NAT bridge that are open too may be reached, and may reach it. */
  readonly isOpen: boolean;
  /** Ports of the host that lead to it by the NAT bridge. */
  readonly publish: readonly PublishedPort[];
}

export interface PublishedPort {
  /** tcp or udp. */
  readonly protocol: string;
  readonly containerPort: number;
  /** Empty or 0.0.0.0: every address of the host. */
  readonly hostIp: string;
  /** 0: one of the node's choice. */
  readonly hostPort: number;
}

export interface Attached {
  readonly containerId: string;
  /** The resolver's. The caller closes them. */
  readonly sockets: { readonly udp: NetnsSocket; readonly tcp: NetnsSocket } | undefined;
  /** On the NAT bridge, with prefix length. */
  readonly natAddress: string | undefined;
  readonly natMac: string | undefined;
  /** As they are, those of the node's choice filled in. */
  readonly ports: readonly PublishedPort[];
}

export interface Desired {
  readonly overlays: readonly OverlaySpec[];
  readonly containers: readonly {
    readonly containerId: string;
    readonly virtuals: VirtualAddresses;
    /** Addresses whose connections are to be forgotten. */
    readonly forget: readonly string[];
  }[];
}

export interface ReconcileReport {
  /** Changes made, for the log. */
  readonly changes: readonly string[];
  /** What could not be brought about, by network or container id ("host" for the NAT bridge). */
  readonly failures: readonly { readonly subject: string; readonly message: string }[];
  /** Containers whose last process has ended; they have been let go of. */
  readonly ended: readonly string[];
  /** Someone else's chains that drop what containers send to the outside. */
  readonly culprits: readonly string[];
  /** The NAT bridge's own address, with prefix length; undefined while it has none. */
  readonly bridgeAddr: string | undefined;
}
