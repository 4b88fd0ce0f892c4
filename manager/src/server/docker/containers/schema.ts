import { z } from 'zod';
import { healthcheckBody } from '../healthcheck-json.js';
import { count, flag, integer, strictObject, text, textMap, texts } from '../json-edge.js';
import { mountSchema } from '../mount-json.js';

// What `POST /containers/create` and `/containers/:id/update` accept. Source: moby api/swagger.yaml, v1.50.

const LATER = 'is not supported yet; leave it out';
const MAC = 'hardware addresses are given by the cluster; leave --mac-address out';
const WINDOWS = 'is for Windows; leave it out';

/** A command, which old clients send as one word. */
const command = z.union([z.string().transform((word) => [word]), z.array(z.string())]).nullish();
const emptyMap = z.record(z.string(), z.object({}).nullish()).nullish();

const CONFIG = {
  Hostname: text,
  Domainname: text,
  User: text,
  AttachStdin: flag,
  AttachStdout: flag,
  AttachStderr: flag,
  ExposedPorts: emptyMap,
  Tty: flag,
  OpenStdin: flag,
  StdinOnce: flag,
  Env: texts,
  Cmd: command,
  Entrypoint: command,
  Healthcheck: healthcheckBody.nullish(),
  Image: text,
  WorkingDir: text,
  Labels: textMap,
  StopSignal: text,
  StopTimeout: integer,
  Volumes: emptyMap,
  Shell: texts,
};
const CONFIG_REFUSED = {
  ArgsEscaped: WINDOWS,
  NetworkDisabled: 'is deprecated; use --network none',
  MacAddress: MAC,
  OnBuild: 'is for images; leave it out',
};

const SIDE_MAX = 65_535;
/** Height and width of a terminal. */
export const consoleSize = z.array(z.int().min(0).max(SIDE_MAX)).nullish();

const throttle = z.array(strictObject({ Path: z.string(), Rate: z.int().min(0) })).nullish();

const RESOURCES = {
  CpuShares: integer,
  Memory: integer,
  BlkioWeight: count,
  BlkioWeightDevice: z.array(strictObject({ Path: z.string(), Weight: z.int().min(0) })).nullish(),
  BlkioDeviceReadBps: throttle,
  BlkioDeviceWriteBps: throttle,
  BlkioDeviceReadIOps: throttle,
  BlkioDeviceWriteIOps: throttle,
  CpuPeriod: integer,
  CpuQuota: integer,
  CpusetCpus: text,
  CpusetMems: text,
  Devices: z
    .array(strictObject({ PathOnHost: z.string(), PathInContainer: text, CgroupPermissions: text }))
    .nullish(),
  DeviceCgroupRules: texts,
  MemoryReservation: integer,
  MemorySwap: integer,
  MemorySwappiness: integer,
  NanoCpus: integer,
  OomKillDisable: flag,
  PidsLimit: integer,
  Ulimits: z.array(strictObject({ Name: z.string(), Soft: z.int(), Hard: z.int() })).nullish(),
};
const RESOURCES_REFUSED = {
  CgroupParent: "the cgroup of a container is its node's to choose; leave it out",
  CpuCount: WINDOWS,
};
/** Whether they are refused, and how, is Docker's to say: host-options.ts. */
const RESOURCES_OF_CREATE = {
  CpuRealtimePeriod: integer,
  CpuRealtimeRuntime: integer,
  DeviceRequests: z
    .array(z.object({ Driver: text, Capabilities: z.array(z.array(z.string())).nullish() }))
    .nullish(),
  KernelMemory: integer,
  KernelMemoryTCP: count,
  CpuPercent: integer,
  IOMaximumIOps: integer,
  IOMaximumBandwidth: integer,
};
const RESOURCES_OF_CREATE_REFUSED = Object.fromEntries(
  Object.keys(RESOURCES_OF_CREATE).map((key) => [key, 'cannot be changed; leave it out']),
);

const restartPolicy = strictObject({
  Name: text,
  MaximumRetryCount: integer,
});

const hostConfig = strictObject(
  {
    ...RESOURCES,
    ...RESOURCES_OF_CREATE,
    Binds: texts,
    LogConfig: strictObject({ Type: text, Config: textMap }).nullish(),
    NetworkMode: text,
    PortBindings: z
      .record(z.string(), z.array(strictObject({ HostIp: text, HostPort: text })).nullish())
      .nullish(),
    RestartPolicy: restartPolicy.nullish(),
    AutoRemove: flag,
    Mounts: z.array(mountSchema).nullish(),
    CapAdd: texts,
    CapDrop: texts,
    CgroupnsMode: text,
    Dns: texts,
    DnsOptions: texts,
    DnsSearch: texts,
    ExtraHosts: texts,
    GroupAdd: texts,
    IpcMode: text,
    OomScoreAdj: integer,
    PidMode: text,
    Privileged: flag,
    PublishAllPorts: flag,
    ReadonlyRootfs: flag,
    SecurityOpt: texts,
    Tmpfs: textMap,
    VolumeDriver: text,
    VolumesFrom: texts,
    UTSMode: text,
    ShmSize: integer,
    Sysctls: textMap,
    Init: flag,
    MaskedPaths: texts,
    ReadonlyPaths: texts,
    // A fact of the client's own: where it writes the id.
    ContainerIDFile: text,
    ConsoleSize: consoleSize,
    Isolation: text,
    UsernsMode: text,
    Runtime: text,
    StorageOpt: textMap,
    Annotations: textMap,
  },
  {
    ...RESOURCES_REFUSED,
    Cgroup: 'containers share no cgroup; leave it out',
    Links: 'are a legacy of Docker; use a network, whose containers find each other by name',
  },
);

const endpoint = strictObject(
  { Aliases: texts, NetworkID: text, EndpointID: text, DNSNames: texts },
  {
    IPAMConfig: 'addresses are given by the cluster; leave --ip out',
    Links: 'are a legacy of Docker; give the other container a name on the network with --network-alias',
    MacAddress: MAC,
    DriverOpts: LATER,
    GwPriority: LATER,
    Gateway: 'is given by the cluster; leave it out',
    IPAddress: 'is given by the cluster; leave it out',
    IPPrefixLen: 'is given by the cluster; leave it out',
  },
);

export const createBody = strictObject(
  {
    ...CONFIG,
    // The query has it; dockerode says it here as well.
    name: text,
    HostConfig: hostConfig.nullish(),
    NetworkingConfig: strictObject({
      EndpointsConfig: z.record(z.string(), endpoint.nullish()).nullish(),
    }).nullish(),
  },
  CONFIG_REFUSED,
);
export const updateBody = strictObject(
  { ...RESOURCES, RestartPolicy: restartPolicy.nullish() },
  { ...RESOURCES_REFUSED, ...RESOURCES_OF_CREATE_REFUSED },
);

export type CreateBody = z.output<typeof createBody>;
export type UpdateBody = z.output<typeof updateBody>;
export type HostConfigBody = NonNullable<CreateBody['HostConfig']>;
export type ResourcesBody = Pick<HostConfigBody, keyof typeof RESOURCES>;
export type RestartPolicyBody = z.output<typeof restartPolicy>;
