import { type ApiVersion, type Case, type Difference, http } from '../case.js';

/** One field of a create body: sent, and read back. */
interface Field {
  /** `HostConfig.Memory`. */
  readonly path: string;
  readonly value: unknown;
  /** What it needs beside it. */
  readonly with?: object;
  readonly versions?: readonly ApiVersion[];
  readonly differs?: readonly Difference[];
  readonly awaits?: string;
}

const config = (field: string, value: unknown, rest: Omit<Field, 'path' | 'value'> = {}): Field => ({
  path: field,
  value,
  ...rest,
});
const host = (field: string, value: unknown, rest: Omit<Field, 'path' | 'value'> = {}): Field => ({
  path: `HostConfig.${field}`,
  value,
  ...rest,
});

/** A field that is refused by name, which dockerd takes; and why. */
const refused = (why: string): { readonly differs: readonly Difference[] } => ({
  differs: [{ at: '*', why }],
});
/** A value that is refused by both, in other words. */
const worded = (why: string): { readonly differs: readonly Difference[] } => ({
  differs: [{ at: 'POST /containers/create*', why }],
});
const NODES_CHOICE = "the cgroup of a container is its node's to choose";
const EARLY = 'what cannot work is refused at the create; dockerd takes it and fails at the start';
const FIELD = 'names the field, and what may be written';
const WINDOWS = 'is for Windows: refused by name, not ignored';
const LATER = 'is refused by name until it is honoured';

const FIELDS: readonly Field[] = [
  config('Hostname', 'box'),
  config('Domainname', 'example.org'),
  config('User', '1000:1000'),
  config('AttachStdin', true),
  config('AttachStdout', true),
  config('AttachStderr', true),
  config('ExposedPorts', { '80/tcp': {}, '53/udp': {} }),
  config('Tty', true),
  config('OpenStdin', true),
  config('StdinOnce', true, { with: { OpenStdin: true } }),
  config('Env', ['A=1', 'B=', 'PATH=/bin']),
  config('Cmd', ['echo', 'hi']),
  config('Cmd', 'one word'),
  config('Entrypoint', ['/bin/sh', '-c']),
  config('Entrypoint', ['']),
  config('Healthcheck', { Test: ['CMD', 'true'], Interval: 1e9, Timeout: 2e9, StartPeriod: 3e9, Retries: 4 }),
  config('Healthcheck', { Test: ['NONE'] }),
  config('Healthcheck', { Test: ['CMD-SHELL', 'true'] }),
  config('Healthcheck', { Test: ['CMD-SHELL', 'a', 'b'] }),
  config('Healthcheck', { Test: ['SHELL', 'a'] }),
  config('Shell', ['/bin/ash', '-ec']),
  config('Healthcheck', { Test: ['CMD', 'true'], Interval: 5 }),
  config('Healthcheck', { Test: ['CMD', 'true'], Retries: -1 }),
  config(
    'Healthcheck',
    { Test: ['CMD', 'true'], StartInterval: 1e9, StartPeriod: 2e9 },
    { versions: ['1.44'] },
  ),
  config('WorkingDir', '/tmp'),
  config('WorkingDir', '/tmp/../etc/'),
  config('Labels', { a: '1', 'b.c': '' }),
  config('StopSignal', 'SIGINT'),
  config('StopSignal', 'NOPE', worded(FIELD)),
  config('StopTimeout', 3),
  config('Volumes', { '/data': {} }),
  config('ArgsEscaped', true, refused(WINDOWS)),
  config('NetworkDisabled', true, refused('is deprecated: --network none says the same')),
  config('MacAddress', '02:42:ac:11:00:99', { awaits: "addresses of the user's choice" }),
  config('OnBuild', ['RUN true'], refused('is for images')),

  host('Memory', 64 * 2 ** 20),
  host('Memory', 1024),
  host('Memory', -1),
  host('MemoryReservation', 32 * 2 ** 20),
  host('MemoryReservation', 64 * 2 ** 20, { with: { HostConfig: { Memory: 32 * 2 ** 20 } } }),
  host('MemorySwap', 128 * 2 ** 20, { with: { HostConfig: { Memory: 64 * 2 ** 20 } } }),
  host('MemorySwap', 32 * 2 ** 20, { with: { HostConfig: { Memory: 64 * 2 ** 20 } } }),
  host('MemorySwap', 32 * 2 ** 20),
  host('MemorySwap', -1, { with: { HostConfig: { Memory: 64 * 2 ** 20 } } }),
  host('MemorySwappiness', 50),
  host('MemorySwappiness', 101),
  host('OomKillDisable', true),
  host('OomKillDisable', true, { with: { HostConfig: { Memory: 64 * 2 ** 20 } } }),
  host('OomScoreAdj', 500),
  host('OomScoreAdj', 1001),
  host('NanoCpus', 500_000_000),
  host('NanoCpus', 1),
  host('NanoCpus', 1e15),
  host('CpuShares', 512),
  host('CpuShares', 1),
  host('CpuQuota', 50_000),
  host('CpuQuota', 1),
  host('CpuPeriod', 50_000),
  host('CpuPeriod', 1),
  host('CpuQuota', 50_000, { with: { HostConfig: { NanoCpus: 1e9 } } }),
  host('CpusetCpus', '0'),
  host('CpusetCpus', 'x', worded(FIELD)),
  host('CpusetCpus', '0-1000', refused('which processors there are, its node knows: refused at the start')),
  host('CpusetMems', '0'),
  host('PidsLimit', 100),
  host('PidsLimit', 0),
  host('PidsLimit', -1),
  host(
    'BlkioWeight',
    500,
    refused('a limit that a kernel cannot keep is refused at the start, not dropped with a warning'),
  ),
  host('BlkioWeight', 5, refused('is refused, not dropped with a warning')),
  host('BlkioWeightDevice', [{ Path: '/dev/null', Weight: 500 }], refused(EARLY)),
  host('BlkioDeviceReadBps', [{ Path: '/dev/zero', Rate: 1000 }], refused(EARLY)),
  host('BlkioDeviceWriteBps', [{ Path: '/dev/zero', Rate: 1000 }], refused(EARLY)),
  host('BlkioDeviceReadIOps', [{ Path: '/dev/zero', Rate: 1000 }], refused(EARLY)),
  host('BlkioDeviceWriteIOps', [{ Path: '/dev/zero', Rate: 1000 }], refused(EARLY)),
  host('Devices', [{ PathOnHost: '/dev/null', PathInContainer: '/dev/mine', CgroupPermissions: 'r' }]),
  host(
    'Devices',
    [{ PathOnHost: '/dev/nothing', PathInContainer: '/dev/mine', CgroupPermissions: 'rwm' }],
    refused(EARLY),
  ),
  host('DeviceCgroupRules', ['c 1:3 rwm']),
  host('DeviceCgroupRules', ['nonsense'], refused(EARLY)),
  host('DeviceRequests', [{ Driver: '', Count: 1, Capabilities: [['gpu']] }], refused(LATER)),
  host('Ulimits', [{ Name: 'nofile', Soft: 100, Hard: 200 }]),
  host('Ulimits', [{ Name: 'nofile', Soft: 300, Hard: 200 }], refused(EARLY)),
  host('Ulimits', [{ Name: 'nosuch', Soft: 1, Hard: 1 }], refused(EARLY)),
  host('CgroupParent', '/elsewhere', refused(NODES_CHOICE)),
  host('CpuRealtimePeriod', 1000, refused(LATER)),
  host('CpuRealtimeRuntime', 1000, refused(LATER)),
  host('KernelMemory', 64 * 2 ** 20, refused('is gone from kernels and from newer dockerd')),
  host('KernelMemoryTCP', 64 * 2 ** 20, refused('is gone from kernels and from newer dockerd')),
  host('CpuCount', 1, refused(WINDOWS)),
  host('CpuPercent', 1, refused(WINDOWS)),
  host('IOMaximumIOps', 1, refused(WINDOWS)),
  host('IOMaximumBandwidth', 1, refused(WINDOWS)),

  host('Binds', ['/usr/share:/mnt:ro']),
  host('Binds', ['/usr/share:/mnt:rw,rslave']),
  host('Binds', ['/tmp:/mnt:nonsense'], worded(FIELD)),
  host('Binds', ['/tmp:relative'], worded(FIELD)),
  host('Binds', ['a:b:c:d'], worded(FIELD)),
  host('Binds', ['/tmp:/'], worded(FIELD)),
  host('Binds', ['fields-volume:/mnt']),
  host('Mounts', [{ Type: 'bind', Source: '/usr/share', Target: '/mnt', ReadOnly: true }]),
  host('Mounts', [{ Type: 'bind', Source: '/no/such', Target: '/mnt' }]),
  host('Mounts', [{ Type: 'bind', Target: '/mnt' }], worded(FIELD)),
  host('Mounts', [
    { Type: 'bind', Source: '/usr/share', Target: '/mnt', BindOptions: { Propagation: 'rslave' } },
  ]),
  host('Mounts', [
    { Type: 'bind', Source: '/usr/share', Target: '/mnt', BindOptions: { NonRecursive: true } },
  ]),
  host('Mounts', [{ Type: 'tmpfs', Target: '/mnt', TmpfsOptions: { SizeBytes: 1_048_576, Mode: 0o700 } }]),
  host('Mounts', [{ Type: 'tmpfs', Source: '/x', Target: '/mnt' }], worded(FIELD)),
  host('Mounts', [{ Type: 'nonsense', Target: '/mnt' }], worded(FIELD)),
  host('Mounts', [{ Type: 'tmpfs', Target: 'relative' }], worded(FIELD)),
  host('Mounts', [{ Type: 'tmpfs' }], worded(FIELD)),
  host(
    'Mounts',
    [
      { Type: 'tmpfs', Target: '/mnt' },
      { Type: 'tmpfs', Target: '/mnt' },
    ],
    worded(FIELD),
  ),
  host('Mounts', [{ Type: 'volume', Source: 'fields-volume', Target: '/mnt' }]),
  host('Mounts', [{ Type: 'tmpfs', Target: '/mnt', Consistency: 'cached' }]),
  host('Tmpfs', { '/mnt': 'size=1m,mode=700' }),
  host('Tmpfs', { '/mnt': 'nonsense' }, refused(EARLY)),
  host('VolumesFrom', ['nobody']),
  host('VolumeDriver', 'local'),
  host('ContainerIDFile', '/tmp/cid', refused("is the client's own affair")),
  host('ConsoleSize', [24, 80]),
  host('LogConfig', { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '2' } }),
  host('LogConfig', { Type: 'local', Config: {} }),
  host('LogConfig', { Type: 'none', Config: {} }),
  host('LogConfig', { Type: 'nonsense', Config: {} }, worded(FIELD)),
  host('LogConfig', { Type: 'json-file', Config: { nonsense: '1' } }, worded(FIELD)),
  host('LogConfig', { Type: 'json-file', Config: { 'max-size': 'x' } }, refused(EARLY)),
  host('NetworkMode', 'none'),
  host('NetworkMode', 'host'),
  host('NetworkMode', 'bridge'),
  host('NetworkMode', 'nosuch', refused(EARLY)),
  host('NetworkMode', 'container:nobody', refused(EARLY)),
  host('NetworkMode', 'host', {
    with: { HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '8080' }] } } },
  }),
  host('PortBindings', {
    '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }],
    '53/udp': [{ HostPort: '' }],
  }),
  host('PortBindings', { 'x/tcp': [{ HostPort: '1' }] }, worded(FIELD)),
  host('PortBindings', { '80/nonsense': [{ HostPort: '1' }] }, refused(EARLY)),
  host('PortBindings', { '80/tcp': [{ HostPort: 'x' }] }, worded(FIELD)),
  host('PortBindings', { '80/tcp': [{ HostIp: 'x', HostPort: '1' }] }, refused(EARLY)),
  host('PublishAllPorts', true),
  host('RestartPolicy', { Name: 'always' }),
  host('RestartPolicy', { Name: 'unless-stopped' }),
  host('RestartPolicy', { Name: 'on-failure', MaximumRetryCount: 3 }),
  host('RestartPolicy', { Name: 'always', MaximumRetryCount: 3 }),
  host('RestartPolicy', { Name: 'nonsense' }),
  host('RestartPolicy', { Name: 'on-failure', MaximumRetryCount: -1 }),
  host('AutoRemove', true),
  host('AutoRemove', true, { with: { HostConfig: { RestartPolicy: { Name: 'always' } } } }),
  host('CapAdd', ['NET_ADMIN', 'cap_sys_time']),
  host('CapAdd', ['NONSENSE']),
  host('CapAdd', ['ALL']),
  host('CapDrop', ['ALL']),
  host('CapDrop', ['NONSENSE']),
  host('CgroupnsMode', 'host'),
  host('CgroupnsMode', 'private'),
  host('CgroupnsMode', 'nonsense'),
  host('Dns', ['1.1.1.1']),
  host('Dns', ['x'], refused(EARLY)),
  host('DnsOptions', ['ndots:2']),
  host('DnsSearch', ['example.org']),
  host('ExtraHosts', ['a:1.2.3.4', 'b:::1']),
  host('ExtraHosts', ['nonsense'], worded(FIELD)),
  host('ExtraHosts', ['a:host-gateway']),
  host('ExtraHosts', ['a:x'], worded(FIELD)),
  host('GroupAdd', ['1000', 'daemon']),
  host('IpcMode', 'private'),
  host('IpcMode', 'none'),
  host('IpcMode', 'host'),
  host('IpcMode', 'shareable'),
  host('IpcMode', 'container:nobody'),
  host('IpcMode', 'nonsense'),
  host('PidMode', 'host'),
  host('PidMode', 'container:nobody'),
  host('PidMode', 'nonsense'),
  host('UTSMode', 'host'),
  host('UTSMode', 'nonsense'),
  host('UTSMode', 'host', { with: { Hostname: 'box' } }),
  host('UsernsMode', 'host', refused(LATER)),
  host('Privileged', true),
  host('ReadonlyRootfs', true),
  host('SecurityOpt', ['no-new-privileges']),
  host('SecurityOpt', ['seccomp=unconfined']),
  host('SecurityOpt', ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']),
  host('SecurityOpt', ['nonsense=x'], worded(FIELD)),
  host('SecurityOpt', ['apparmor=nosuch'], refused(EARLY)),
  host('SecurityOpt', ['label=disable']),
  host('SecurityOpt', null, { with: { HostConfig: { Privileged: true } } }),
  host('SecurityOpt', ['no-new-privileges'], { with: { HostConfig: { PidMode: 'host' } } }),
  host('StorageOpt', { size: '1G' }, refused(LATER)),
  host('Sysctls', { 'net.core.somaxconn': '100' }),
  host('Sysctls', { 'vm.nonsense': '1' }, refused(EARLY)),
  host('ShmSize', 1_048_576),
  host('ShmSize', -1),
  host('Init', true),
  host('Runtime', 'nosuch', refused("containers are run by Tessera's own runtime")),
  host('Isolation', 'default', refused('has no meaning on Linux')),
  host('Isolation', 'hyperv', worded(FIELD)),
  host('Links', ['nobody:x'], refused('are a legacy of Docker: networks have names')),
  host('Cgroup', 'x', refused(LATER)),
  host('MaskedPaths', ['/proc/kcore']),
  host('MaskedPaths', []),
  host('ReadonlyPaths', ['/proc/sys']),
  host('ReadonlyPaths', []),
  host('Annotations', { a: 'b' }, { versions: ['1.44'], ...refused(LATER) }),
  {
    path: 'NetworkingConfig.EndpointsConfig',
    value: { bridge: { Aliases: ['a'] } },
    ...worded(FIELD),
  },
  { path: 'NetworkingConfig.EndpointsConfig', value: { nosuch: {} }, ...refused(EARLY) },
  {
    path: 'NetworkingConfig.EndpointsConfig',
    value: { bridge: { IPAMConfig: { IPv4Address: '172.17.0.200' } } },
    awaits: "addresses of the user's choice",
  },
];

function named(all: readonly Field[]): Case[] {
  const seen = new Map<string, number>();
  return all.map((field) => {
    const count = (seen.get(field.path) ?? 0) + 1;
    seen.set(field.path, count);
    return caseOf(field, count === 1 ? field.path : `${field.path} ${count}`);
  });
}

function caseOf({ path, value, with: beside = {}, versions, differs, awaits }: Field, name: string): Case {
  return {
    name,
    proves: `${path} as ${JSON.stringify(value)}${Object.keys(beside).length > 0 ? ` with ${JSON.stringify(beside)}` : ''}`,
    steps: [
      http('POST /containers/create?name=$c', {
        body: merged({ Image: 'busybox', Cmd: ['sleep', '1000'] }, beside, nested(path.split('.'), value)),
      }),
      http('GET /containers/$c/json', { only: shownAt(path) }),
    ],
    ...(versions ? { versions } : {}),
    ...(differs ? { differs } : {}),
    ...(awaits ? { awaits } : {}),
  };
}

/** Where inspect shows what was set. */
function shownAt(path: string): string[] {
  if (path.startsWith('HostConfig.')) return [path, ...(/Binds|Mounts|Tmpfs/.test(path) ? ['Mounts'] : [])];
  if (path.startsWith('NetworkingConfig.')) return ['NetworkSettings.Networks'];
  return [`Config.${path}`, ...(/Cmd|Entrypoint/.test(path) ? ['Path', 'Args'] : [])];
}

const nested = ([key, ...rest]: readonly string[], value: unknown): object => ({
  [key!]: rest.length > 0 ? nested(rest, value) : value,
});

function merged(...parts: readonly object[]): object {
  const result: Record<string, unknown> = {};
  for (const part of parts)
    for (const [key, value] of Object.entries(part)) {
      const before = result[key];
      result[key] = isObject(before) && isObject(value) ? merged(before, value) : value;
    }
  return result;
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Each field of a create body by itself: what is answered, and what inspect shows of it. */
export const fields: readonly Case[] = named(FIELDS);
