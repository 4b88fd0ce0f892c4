/** The range of Docker Engine API versions that is served. */
export const API_VERSION_MAX = '1.50';
export const API_VERSION_MIN = '1.24';
export const ENGINE_VERSION = '0.1.0';

/** Headers that dockerd puts on every answer, and that clients negotiate by. */
export const API_HEADERS: Readonly<Record<string, string>> = {
  'Api-Version': API_VERSION_MAX,
  'Docker-Experimental': 'false',
  Ostype: 'linux',
  Server: `Tessera/${ENGINE_VERSION} (linux)`,
};

/** Headers of `/_ping` besides those: `role` as in Docker's `Swarm` header. */
export const pingHeaders = (
  role: 'inactive' | 'pending' | 'active/worker' | 'active/manager',
): Readonly<Record<string, string>> => ({
  'Builder-Version': '',
  'Cache-Control': 'no-cache, no-store, must-revalidate',
  Pragma: 'no-cache',
  'Content-Type': 'text/plain; charset=utf-8',
  Swarm: role,
});

/** Facts about the host the API is served on. */
export interface HostFacts {
  /** As `uname -r`, `uname -m`, and the name of the host. */
  readonly kernel: string;
  readonly machine: string;
  readonly hostname: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  /** "v1", "v2" or "hybrid". */
  readonly cgroupMode: string;
  readonly dataDir: string;
  /** As its distribution calls itself. */
  readonly operatingSystem: string;
  readonly insecureRegistries: readonly string[];
  readonly registryMirrors: readonly string[];
  /** Whether containers have SELinux labels, on whichever node. */
  readonly selinux: boolean;
  readonly nowMs: number;
}

const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64', armv7l: 'arm' };

/** Go's name for what `uname -m` says: `amd64` for `x86_64`. */
export const goArchitecture = (machine: string): string => ARCHITECTURES[machine] ?? machine;

/** The body of `GET /version`. */
export function versionDocument(host: Pick<HostFacts, 'kernel' | 'machine'>): object {
  const arch = goArchitecture(host.machine);
  const details = { ApiVersion: API_VERSION_MAX, MinAPIVersion: API_VERSION_MIN, Arch: arch, Os: 'linux' };
  return {
    Platform: { Name: 'Tessera' },
    Components: [
      { Name: 'Engine', Version: ENGINE_VERSION, Details: { ...details, KernelVersion: host.kernel } },
    ],
    Version: ENGINE_VERSION,
    ...details,
    GitCommit: '',
    GoVersion: '',
    KernelVersion: host.kernel,
  };
}

/** What `GET /info` says of the node's place in a cluster. */
export interface SwarmInfo {
  readonly NodeID: string;
  readonly NodeAddr: string;
  readonly LocalNodeState: 'inactive' | 'pending' | 'active' | 'error' | 'locked';
  readonly ControlAvailable: boolean;
  readonly Error: string;
  readonly RemoteManagers: readonly { readonly NodeID: string; readonly Addr: string }[] | null;
  readonly Nodes?: number;
  readonly Managers?: number;
  readonly Cluster?: object;
}

/** The body of `GET /info`. */
export interface InfoJson {
  readonly ID: string;
  readonly Name: string;
  readonly ServerVersion: string;
  readonly NCPU: number;
  readonly MemTotal: number;
  readonly Containers: number;
  readonly ContainersRunning: number;
  readonly Images: number;
  readonly Swarm: SwarmInfo;
  readonly [key: string]: unknown;
}

export interface InfoCounts {
  readonly containersRunning: number;
  readonly containersPaused: number;
  readonly containersStopped: number;
  readonly images: number;
  /** Of the process that answers. */
  readonly openFiles: number;
  readonly eventReaders: number;
}

/**
 * @param swarm outside a cluster: `inactiveSwarm`
 * @param lines pairs that `docker info` shows below the storage driver
 */
export function infoDocument(
  host: HostFacts,
  swarm: SwarmInfo,
  counts: InfoCounts,
  lines: readonly (readonly [string, string])[] = [],
): InfoJson {
  const isV1 = host.cgroupMode !== 'v2';
  const { containersRunning, containersPaused, containersStopped, images, openFiles, eventReaders } = counts;
  return {
    ID: swarm.NodeID,
    Name: host.hostname,
    ServerVersion: ENGINE_VERSION,
    Containers: containersRunning + containersPaused + containersStopped,
    ContainersRunning: containersRunning,
    ContainersPaused: containersPaused,
    ContainersStopped: containersStopped,
    Images: images,
    Driver: 'overlayfs',
    DriverStatus: lines,
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'null', 'overlay'],
      Authorization: null,
      Log: ['json-file', 'local', 'none'],
    },
    // What a host's kernel cannot hold, the answers to create and update say.
    MemoryLimit: true,
    SwapLimit: true,
    KernelMemory: false,
    KernelMemoryTCP: isV1,
    CpuCfsPeriod: true,
    CpuCfsQuota: true,
    CPUShares: true,
    CPUSet: true,
    PidsLimit: true,
    IPv4Forwarding: true,
    // Nothing here depends on it; `false` makes clients warn.
    BridgeNfIptables: true,
    BridgeNfIp6tables: true,
    IndexServerAddress: 'https://index.docker.io/v1/',
    RegistryConfig: registryConfig(host),
    GenericResources: null,
    Debug: false,
    // Docker's CLI shows these in debug mode, other clients always. What a goroutine would be there is none of.
    NFd: openFiles,
    NGoroutines: 0,
    NEventsListener: eventReaders,
    OomKillDisable: isV1,
    SystemTime: new Date(host.nowMs).toISOString(),
    LoggingDriver: 'json-file',
    CgroupDriver: 'cgroupfs',
    CgroupVersion: isV1 ? '1' : '2',
    KernelVersion: host.kernel,
    OperatingSystem: host.operatingSystem,
    OSType: 'linux',
    OSVersion: '',
    Architecture: host.machine,
    NCPU: host.cpus,
    MemTotal: host.memoryBytes,
    DockerRootDir: host.dataDir,
    HttpProxy: '',
    HttpsProxy: '',
    NoProxy: '',
    Labels: [],
    ExperimentalBuild: false,
    Swarm: swarm,
    Runtimes: { tessera: { path: 'ts-shim' } },
    DefaultRuntime: 'tessera',
    LiveRestoreEnabled: true,
    Isolation: '',
    InitBinary: '',
    ContainerdCommit: NO_PROGRAM,
    RuncCommit: NO_PROGRAM,
    InitCommit: NO_PROGRAM,
    SecurityOptions: [
      'name=seccomp,profile=builtin',
      ...(host.selinux ? ['name=selinux'] : []),
      'name=cgroupns',
    ],
    // Devices are given by their paths, and not by the names that such specifications have for them.
    CDISpecDirs: [],
    Warnings: null,
  };
}

/** There is no containerd, no runc, and no tini. */
const NO_PROGRAM = { ID: '', Expected: '' };
const LOOPBACK = '127.0.0.0/8';

/** Source: moby registry/config.go. */
function registryConfig({ insecureRegistries, registryMirrors }: HostFacts): object {
  const [networks, hosts] = [true, false].map((isNetwork) =>
    insecureRegistries.filter((entry) => entry.includes('/') === isNetwork),
  );
  const mirrors = registryMirrors.map((mirror) => `${mirror.replace(/\/+$/, '')}/`);
  const own = hosts!.map((name) => [name, { Name: name, Mirrors: [], Secure: false, Official: false }]);
  return {
    AllowNondistributableArtifactsCIDRs: [],
    AllowNondistributableArtifactsHostnames: [],
    InsecureRegistryCIDRs: [...new Set([...networks!, LOOPBACK])],
    IndexConfigs: {
      'docker.io': { Name: 'docker.io', Mirrors: mirrors, Secure: true, Official: true },
      ...Object.fromEntries(own),
    },
    Mirrors: mirrors,
  };
}

export const inactiveSwarm: SwarmInfo = {
  NodeID: '',
  NodeAddr: '',
  LocalNodeState: 'inactive',
  ControlAvailable: false,
  Error: '',
  RemoteManagers: null,
};

/** What is answered (503) to requests of a cluster outside of one, and on a worker: dockerd's words, as docs/nomenclature.md has it. */
export const NOT_IN_A_SWARM =
  'This node is not a cluster manager. Use "tsctl cluster init" or "tsctl cluster join" to connect this node to a cluster and try again.';
export const NOT_A_MANAGER =
  "This node is not a cluster manager. Worker nodes can't be used to view or modify cluster state. Please run this command on a manager node or promote the current node to a manager.";
