import type { SpecRecord } from '@tessera/native';
import type { ContainerStats } from '../../live-container.js';

/** What a container may use. Absent: no bound. */
export interface GroupLimits {
  readonly nanoCpus?: number;
  /** Relative weight, 1024 being the usual one. */
  readonly cpuShares?: number;
  readonly memoryBytes?: number;
  /** Kept from reclaim while others have less need. */
  readonly memoryReservationBytes?: number;
  readonly pids?: number;
  /** CFS bandwidth, in place of `nanoCpus`. */
  readonly cpuQuotaUs?: number;
  readonly cpuPeriodUs?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  /** Memory and swap together; -1: unlimited. Absent: twice the memory. */
  readonly memorySwapBytes?: number;
  /** 0 to 100; v1 only. */
  readonly memorySwappiness?: number;
  /** v1 only. */
  readonly oomKillDisable?: boolean;
  /** Of TCP buffers; v1 only. */
  readonly kernelMemoryTcpBytes?: number;
  /** 10 to 1000. */
  readonly blkioWeight?: number;
  readonly block?: readonly BlockLimit[];
}

/** What this kernel's groups can do, of what not all can. */
export interface GroupFeatures {
  readonly swapLimit: boolean;
  readonly swappiness: boolean;
  readonly oomKillDisable: boolean;
  readonly kernelMemoryTcp: boolean;
  readonly blkioWeight: boolean;
  readonly blkioWeightDevice: boolean;
}

/** A bound, or a weight, on one block device. */
export interface BlockLimit {
  readonly kind: 'weight' | 'read_bps' | 'write_bps' | 'read_iops' | 'write_iops';
  readonly major: number;
  readonly minor: number;
  readonly rate: number;
}

/** A device that a container may use: 'c' or 'b', or 'a' for all; numbers absent mean any. */
export interface DeviceRule {
  readonly type: 'a' | 'b' | 'c';
  readonly major?: number;
  readonly minor?: number;
  /** Of r, w and m (mknod). */
  readonly access: string;
}

/** What a container uses now. */
export interface GroupUsage {
  readonly cpuNanoSeconds: bigint;
  /** Nanoseconds that tasks waited because of their quota. */
  readonly throttledNanoSeconds: bigint;
  readonly memoryBytes: number;
  /** Of it, file pages not used lately: the first to go. */
  readonly inactiveFileBytes: number;
  readonly memoryLimitBytes?: number;
  readonly pids: number;
  readonly oomKills: number;
}

/** What the kernel counts of a container's group. */
export type GroupStats = Pick<ContainerStats, 'memory' | 'pids' | 'blockIo'> & {
  readonly cpu: Omit<ContainerStats['cpu'], 'hostNs' | 'processors'>;
};

/** The cgroups of this host's containers, whatever the kernel's layout: everything lies below one parent. */
export interface CgroupDriver {
  readonly mode: 'v1' | 'v2' | 'hybrid';
  /** After `prepare`. */
  readonly features: GroupFeatures;
  /** Makes the parent and its parts `shims` and `containers`. May be repeated. */
  prepare(): Promise<void>;
  /** Records that make the shim join its group, and its container one of its own with these limits. */
  records(limits: GroupLimits, devices: readonly DeviceRule[]): SpecRecord[];
  /** The container's directories, one per hierarchy, for their removal. */
  paths(containerId: string): string[];
  /** Kills everything in the container's group, until it is empty. */
  kill(containerId: string): Promise<void>;
  /** Stops every process of the group where it is; resolves once all of them are. */
  freeze(containerId: string): Promise<void>;
  thaw(containerId: string): Promise<void>;
  isFrozen(containerId: string): Promise<boolean>;
  /** Changes the limits given, of a group that is there. @throws ClusterError naming what the kernel refuses */
  update(containerId: string, limits: GroupLimits): Promise<void>;
  /** @throws ClusterError `notFound` when the group is gone */
  usage(containerId: string): Promise<GroupUsage>;
  /** @throws ClusterError `notFound` when the group is gone */
  stats(containerId: string): Promise<GroupStats>;
  /** Pids, as this host has them, of all in the group and below. */
  processes(containerId: string): Promise<number[]>;
  /** Ids that have a group, whoever made it. */
  list(): Promise<string[]>;
  /** Removes the parent and its parts, if no container is left. For labs and tests. */
  removeParent(): Promise<void>;
  /** Mounts that show a container its own groups. @param writable else they are read-only (CVE-2023-25809) */
  mounts(writable: boolean): SpecRecord[];
}
