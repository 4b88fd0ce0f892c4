// The Docker Engine API's JSON, as far as Tessera speaks it: what the server writes and the clients read.
// Source: moby api/swagger.yaml, v1.50. Durations are nanoseconds, times RFC 3339 strings.

export interface VersionJson {
  readonly Index: number;
}
interface ObjectJson {
  readonly ID: string;
  readonly Version: VersionJson;
  readonly CreatedAt: string;
  readonly UpdatedAt: string;
}
export type StringMap = Readonly<Record<string, string>>;

// ---------------------------------------------------------------- services

export interface MountJson {
  readonly Type: string;
  readonly Source?: string;
  readonly Target: string;
  readonly ReadOnly?: boolean;
  readonly Consistency?: string;
  readonly BindOptions?: {
    readonly Propagation?: string;
    readonly NonRecursive?: boolean;
    readonly CreateMountpoint?: boolean;
    readonly ReadOnlyNonRecursive?: boolean;
    readonly ReadOnlyForceRecursive?: boolean;
  };
  readonly VolumeOptions?: {
    readonly NoCopy?: boolean;
    readonly Labels?: StringMap;
    readonly Subpath?: string;
    readonly DriverConfig?: { readonly Name?: string; readonly Options?: StringMap };
  };
  readonly TmpfsOptions?: {
    readonly SizeBytes?: number;
    readonly Mode?: number;
    readonly Options?: readonly (readonly string[])[];
  };
}
export interface HealthcheckJson {
  readonly Test?: readonly string[];
  readonly Interval?: number;
  readonly Timeout?: number;
  readonly StartPeriod?: number;
  readonly StartInterval?: number;
  readonly Retries?: number;
}
export interface ContainerSpecJson {
  readonly Image?: string;
  readonly Labels?: StringMap;
  readonly Command?: readonly string[];
  readonly Args?: readonly string[];
  readonly Hostname?: string;
  readonly Env?: readonly string[];
  readonly Dir?: string;
  readonly User?: string;
  readonly Groups?: readonly string[];
  readonly Privileges?: { readonly NoNewPrivileges?: boolean };
  readonly TTY?: boolean;
  readonly OpenStdin?: boolean;
  readonly ReadOnly?: boolean;
  readonly Mounts?: readonly MountJson[];
  readonly StopSignal?: string;
  readonly StopGracePeriod?: number;
  readonly Healthcheck?: HealthcheckJson;
  readonly Hosts?: readonly string[];
  readonly DNSConfig?: {
    readonly Nameservers?: readonly string[];
    readonly Search?: readonly string[];
    readonly Options?: readonly string[];
  };
  readonly Init?: boolean;
  readonly Sysctls?: StringMap;
  readonly CapabilityAdd?: readonly string[];
  readonly CapabilityDrop?: readonly string[];
  readonly Ulimits?: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[];
  readonly OomScoreAdj?: number;
}
export interface ResourcesJson {
  readonly NanoCPUs?: number;
  readonly MemoryBytes?: number;
  readonly Pids?: number;
}
export interface RestartPolicyJson {
  readonly Condition?: string;
  readonly Delay?: number;
  readonly MaxAttempts?: number;
  readonly Window?: number;
}
/** What a task is for; a part that is left out is any. */
export interface PlatformJson {
  readonly Architecture?: string;
  readonly OS?: string;
}
export interface TaskSpecJson {
  readonly ContainerSpec?: ContainerSpecJson;
  readonly Resources?: { readonly Limits?: ResourcesJson; readonly Reservations?: ResourcesJson };
  readonly RestartPolicy?: RestartPolicyJson;
  readonly Placement?: {
    readonly Constraints?: readonly string[];
    readonly Preferences?: readonly { readonly Spread: { readonly SpreadDescriptor: string } }[];
    readonly MaxReplicas?: number;
    readonly Platforms?: readonly PlatformJson[];
  };
  readonly Networks?: readonly { readonly Target: string; readonly Aliases?: readonly string[] }[];
  readonly LogDriver?: { readonly Name?: string; readonly Options?: StringMap };
  readonly ForceUpdate?: number;
}
export interface UpdateConfigJson {
  readonly Parallelism?: number;
  readonly Delay?: number;
  readonly FailureAction?: string;
  readonly Monitor?: number;
  readonly MaxFailureRatio?: number;
  readonly Order?: string;
}
export interface ServiceSpecJson {
  readonly Name?: string;
  readonly Labels?: StringMap;
  readonly TaskTemplate?: TaskSpecJson;
  readonly Mode?: { readonly Replicated?: { readonly Replicas?: number }; readonly Global?: object };
  readonly UpdateConfig?: UpdateConfigJson;
  readonly RollbackConfig?: UpdateConfigJson;
  readonly EndpointSpec?: { readonly Mode?: string };
}
export interface ServiceJson extends ObjectJson {
  readonly Spec: ServiceSpecJson;
  readonly PreviousSpec?: ServiceSpecJson;
  readonly Endpoint: {
    readonly Spec: { readonly Mode?: string };
    readonly VirtualIPs?: readonly { readonly NetworkID: string; readonly Addr: string }[];
  };
  readonly UpdateStatus?: {
    readonly State: string;
    readonly StartedAt?: string;
    readonly CompletedAt?: string;
    readonly Message: string;
  };
  readonly ServiceStatus?: {
    readonly RunningTasks: number;
    readonly DesiredTasks: number;
    readonly CompletedTasks: number;
  };
}

// ---------------------------------------------------------------- tasks

export interface TaskJson extends ObjectJson {
  /** `web.1`, also when the service is no more. */
  readonly Name?: string;
  readonly Labels: StringMap;
  readonly Spec: TaskSpecJson;
  readonly ServiceID: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly Status: {
    readonly Timestamp: string;
    readonly State: string;
    readonly Message?: string;
    readonly Err?: string;
    readonly ContainerStatus?: {
      readonly ContainerID: string;
      readonly PID: number;
      readonly ExitCode: number;
    };
    readonly PortStatus: object;
  };
  readonly DesiredState: string;
  readonly NetworksAttachments?: readonly {
    readonly Network: NetworkObjectJson;
    readonly Addresses: readonly string[];
  }[];
}
/** A network as a task's attachment shows it. */
export interface NetworkObjectJson extends ObjectJson {
  readonly Spec: { readonly Name: string; readonly Labels: StringMap };
}

// ---------------------------------------------------------------- nodes

export interface NodeSpecJson {
  readonly Name?: string;
  readonly Labels?: StringMap;
  readonly Role: string;
  readonly Availability: string;
}
export interface NodeJson extends ObjectJson {
  readonly Spec: NodeSpecJson;
  readonly Description: {
    readonly Hostname: string;
    readonly Platform: { readonly Architecture: string; readonly OS: string };
    readonly Resources: ResourcesJson;
    readonly Engine: { readonly EngineVersion: string; readonly Labels?: StringMap };
  };
  readonly Status: { readonly State: string; readonly Message?: string; readonly Addr: string };
  readonly ManagerStatus?: {
    readonly Leader?: boolean;
    readonly Reachability: string;
    readonly Addr: string;
  };
}

// ---------------------------------------------------------------- networks

export interface IpamConfigJson {
  readonly Subnet?: string;
  readonly IPRange?: string;
  readonly Gateway?: string;
}
export interface NetworkJson {
  readonly Name: string;
  readonly Id: string;
  readonly Created: string;
  readonly Scope: string;
  readonly Driver: string;
  readonly EnableIPv4: boolean;
  readonly EnableIPv6: boolean;
  readonly IPAM: {
    readonly Driver: string;
    readonly Options: StringMap | null;
    readonly Config: readonly IpamConfigJson[];
  };
  readonly Internal: boolean;
  readonly Attachable: boolean;
  readonly Ingress: boolean;
  readonly ConfigFrom: { readonly Network: string };
  readonly ConfigOnly: boolean;
  readonly Containers: Readonly<Record<string, NetworkContainerJson>>;
  readonly Options: StringMap;
  readonly Labels: StringMap;
}
export interface NetworkContainerJson {
  readonly Name: string;
  readonly EndpointID: string;
  readonly MacAddress: string;
  readonly IPv4Address: string;
  readonly IPv6Address: string;
}
export interface NetworkCreateJson {
  readonly Name: string;
  readonly Driver?: string;
  readonly Internal?: boolean;
  readonly Attachable?: boolean;
  readonly IPAM?: { readonly Driver?: string; readonly Config?: readonly IpamConfigJson[] };
  readonly Options?: StringMap;
  readonly Labels?: StringMap;
}

// ---------------------------------------------------------------- images

export interface ImageSummaryJson {
  readonly Id: string;
  readonly ParentId: string;
  readonly RepoTags: readonly string[];
  readonly RepoDigests: readonly string[];
  /** Unix seconds. */
  readonly Created: number;
  readonly Size: number;
  /** -1: not asked for. */
  readonly SharedSize: number;
  readonly Labels: StringMap | null;
  readonly Containers: number;
  readonly VirtualSize?: number;
  readonly Descriptor?: DescriptorJson;
  readonly Manifests?: readonly ImageManifestJson[];
}
/** What a registry says of a manifest. Source: OCI image spec, descriptor.md. */
export interface DescriptorJson {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}
/** What an image has for one platform. Sizes are in bytes. */
export interface ImageManifestJson {
  readonly ID: string;
  readonly Descriptor: DescriptorJson;
  readonly Available: boolean;
  readonly Kind: 'image';
  readonly Size: { readonly Content: number; readonly Total: number };
  readonly ImageData: {
    readonly Platform: { readonly architecture: string; readonly os: string; readonly variant?: string };
    readonly Containers: readonly string[];
    readonly Size: { readonly Unpacked: number };
  };
}
export interface ImageDeleteJson {
  readonly Untagged?: string;
  readonly Deleted?: string;
}
/** One line of a progress stream, as `image load` answers. */
/** One of `GET /images/{name}/history`, the newest first. */
export interface ImageHistoryJson {
  readonly Id: string;
  /** Unix time in seconds. */
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Tags: readonly string[] | null;
  readonly Size: number;
  readonly Comment: string;
}

export interface ProgressJson {
  readonly stream?: string;
  readonly status?: string;
  /** Of what `status` is said: a layer, a tag. */
  readonly id?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly progress?: string;
  readonly aux?: object;
  readonly error?: string;
  readonly errorDetail?: { readonly message: string };
}

// ---------------------------------------------------------------- swarm, info, version

export interface SwarmSpecJson {
  readonly Name?: string;
  readonly Labels?: StringMap;
  readonly Orchestration?: { readonly TaskHistoryRetentionLimit?: number };
  readonly Dispatcher?: { readonly HeartbeatPeriod?: number };
}
export interface SwarmJson extends ObjectJson {
  readonly Spec: SwarmSpecJson;
  readonly DefaultAddrPool: readonly string[];
  readonly SubnetSize: number;
  readonly DataPathPort: number;
  readonly RootRotationInProgress: boolean;
  readonly JoinTokens: { readonly Worker: string; readonly Manager: string };
}
export interface SwarmInitJson {
  readonly ListenAddr?: string;
  readonly AdvertiseAddr?: string;
  readonly DataPathAddr?: string;
  readonly DataPathPort?: number;
  readonly DefaultAddrPool?: readonly string[];
  readonly SubnetSize?: number;
  readonly ForceNewCluster?: boolean;
  readonly Availability?: string;
  readonly AutoLockManagers?: boolean;
  readonly Spec?: object;
}
export interface SwarmJoinJson {
  readonly ListenAddr?: string;
  readonly AdvertiseAddr?: string;
  readonly DataPathAddr?: string;
  readonly RemoteAddrs: readonly string[];
  readonly JoinToken: string;
  readonly Availability?: string;
}
