import type {
  NetworkJson,
  NodeJson,
  ServiceJson,
  SwarmInfo,
  SwarmJson,
  TaskJson,
} from '@tessera/shared/docker-api';

/** Names of the fields, at any depth, that an object of the API may leave out. Not those of maps: any name may be there. */
type OptionalFields<T> = T extends readonly (infer Item)[]
  ? OptionalFields<Item>
  : T extends object
    ? string extends keyof T
      ? never
      : {
          [K in keyof T & string]-?:
            | (object extends Pick<T, K> ? K : never)
            | OptionalFields<NonNullable<T[K]>>;
        }[keyof T & string]
    : never;

type Inspected = NetworkJson | NodeJson | ServiceJson | SwarmInfo | SwarmJson | TaskJson;

/** A record, so that the compiler asks for every field that is added to the API's types. */
const OPTIONAL: Readonly<Record<OptionalFields<Inspected>, true>> = {
  Aliases: true,
  Architecture: true,
  Args: true,
  BindOptions: true,
  CreateMountpoint: true,
  DriverConfig: true,
  NoCopy: true,
  NonRecursive: true,
  ReadOnlyForceRecursive: true,
  ReadOnlyNonRecursive: true,
  Subpath: true,
  VolumeOptions: true,
  CapabilityAdd: true,
  CapabilityDrop: true,
  Cluster: true,
  Command: true,
  CompletedAt: true,
  Condition: true,
  Consistency: true,
  Constraints: true,
  ContainerSpec: true,
  ContainerStatus: true,
  DNSConfig: true,
  Delay: true,
  Dir: true,
  Dispatcher: true,
  EndpointSpec: true,
  Env: true,
  Err: true,
  FailureAction: true,
  ForceUpdate: true,
  Gateway: true,
  Global: true,
  Groups: true,
  Healthcheck: true,
  HeartbeatPeriod: true,
  Hostname: true,
  Hosts: true,
  IPRange: true,
  Image: true,
  Init: true,
  Interval: true,
  Labels: true,
  Leader: true,
  Limits: true,
  LogDriver: true,
  Managers: true,
  ManagerStatus: true,
  MaxAttempts: true,
  MaxFailureRatio: true,
  MaxReplicas: true,
  MemoryBytes: true,
  Message: true,
  Mode: true,
  Monitor: true,
  Mounts: true,
  Name: true,
  Nameservers: true,
  NanoCPUs: true,
  Networks: true,
  NetworksAttachments: true,
  NoNewPrivileges: true,
  NodeID: true,
  Nodes: true,
  OomScoreAdj: true,
  OS: true,
  OpenStdin: true,
  Options: true,
  Orchestration: true,
  Order: true,
  Parallelism: true,
  Pids: true,
  Placement: true,
  Platforms: true,
  Preferences: true,
  PreviousSpec: true,
  Privileges: true,
  Propagation: true,
  ReadOnly: true,
  Replicas: true,
  Replicated: true,
  Reservations: true,
  Resources: true,
  RestartPolicy: true,
  Retries: true,
  RollbackConfig: true,
  Search: true,
  ServiceStatus: true,
  SizeBytes: true,
  Slot: true,
  Source: true,
  StartInterval: true,
  StartPeriod: true,
  StartedAt: true,
  StopGracePeriod: true,
  StopSignal: true,
  Subnet: true,
  Sysctls: true,
  TTY: true,
  TaskHistoryRetentionLimit: true,
  TaskTemplate: true,
  Test: true,
  Timeout: true,
  TmpfsOptions: true,
  Ulimits: true,
  UpdateConfig: true,
  UpdateStatus: true,
  User: true,
  VirtualIPs: true,
  Window: true,
};

/** What an image's configuration may leave out. Source: OCI image spec, config.md, and Docker's additions to it. */
const OPTIONAL_OF_IMAGES = new Set(
  'ArgsEscaped Cmd Domainname Entrypoint ExposedPorts OnBuild Shell Tty Volumes WorkingDir'.split(' '),
);

/** Fields that hold maps, in which any key may be missing. */
const MAPS = new Set(
  'Containers Data ExposedPorts Labels Options PortStatus Runtimes Sysctls Volumes'.split(' '),
);

/**
 * Whether a field that an object does not have is one that it may leave out.
 *
 * @param parent the field that holds the object; undefined: none, it is what was listed or inspected
 */
export const mayBeMissing = (field: string, parent: string | undefined): boolean =>
  Object.hasOwn(OPTIONAL, field) ||
  OPTIONAL_OF_IMAGES.has(field) ||
  (parent !== undefined && MAPS.has(parent));
