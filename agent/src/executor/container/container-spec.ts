import { encodeRecords, joinSpec, SPEC_FLAGS, type SpecPart, type SpecRecord } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import type { ContainerSpec, HostConfig, Mount, Task, TaskSpec } from '@tessera/shared/model';
import type { ContainerLabels } from '../../containers/runtime.js';
import type { LocalImage, Snapshot } from '../../image/image-store.js';
import type { NetworkFiles } from '../../network/container-network.js';
import type { ImageTree } from '../../volumes/index.js';
import { capabilityMask, containerCapabilities } from './capabilities.js';
import type { CgroupDriver } from './cgroups/index.js';
import { protectedPaths, systemMounts } from './file-tree.js';
import { type HostSettings, hostSettings, taskSettings } from './host-config.js';
import { MOUNT_ATTR, PROPAGATION } from './mount-flags.js';
import type { Namespaces } from './namespaces.js';
import { commandOf, environmentOf, rlimits, sysctls } from './process-spec.js';
import { customFilter } from './seccomp/custom-filter.js';
import { labelRecord, type SecurityModules } from './security/index.js';
import { type MountPlaces, type OwnFile, userMounts } from './user-mounts.js';

/** What of this host goes into every spec; read once. */
export interface HostFacts {
  readonly bootId: string;
  readonly cpus: number;
  /** The agent's own permitted capabilities. */
  readonly capabilities: bigint;
  readonly hardNofile: number;
  /** Whether overlayfs takes layers one by one (Linux 6.5). */
  readonly overlayParts: boolean;
  /** As uname gives it. */
  readonly kernel: string;
  readonly security: SecurityModules;
}

/** Docker's json-file options `max-size` and `max-file`, in our terms. */
export interface LogBounds {
  readonly segmentBytes: number;
  readonly segmentCount: number;
}

/** Without `hosts` where whoever starts the container writes that. */
export type ShimFiles = Pick<NetworkFiles, 'resolvConf'> & Partial<NetworkFiles>;

export interface ContainerInputs {
  readonly id: string;
  readonly task: Task;
  readonly image: LocalImage;
  readonly dataDir: string;
  readonly runDir: string;
  readonly hostname: string;
  /** Or the directory where those of the container lie whose network it joins. */
  readonly networkFiles: ShimFiles | string;
  /** Of another container on this host, by its id. */
  readonly runDirOf: (containerId: string) => string;
  /** Its own, with a name for each volume. */
  readonly mounts: readonly Mount[];
  /** Those it was given when it was made. */
  readonly labels: ContainerLabels | undefined;
  /** Of a container that is no task's. */
  readonly host?: HostConfig;
}

/** Docker's profile for a set of capabilities, as BPF; undefined: none. */
export type FilterSource = (capabilities: ReadonlySet<string>) => Uint8Array | undefined;

/** Different limits and capability sets that are kept ready; services have few of them. */
const PARTS_MAX = 256;

/**
 * Compiles what the shim needs to make a container. Most of it is the same for all, or for all of a service, and is
 * kept in its bytes.
 */
export class SpecCompiler {
  readonly #parts = new Map<string, SpecPart>();

  constructor(
    private readonly cgroups: CgroupDriver,
    private readonly host: HostFacts,
    private readonly seccomp: FilterSource,
    private readonly places: MountPlaces,
  ) {}

  /** @throws ClusterError naming the field that cannot be honoured */
  compile(inputs: ContainerInputs): Buffer {
    const { task } = inputs;
    const spec = task.spec?.container;
    if (!task.spec || !spec) throw invalid(`task ${task.id} has no container specification`);
    const { privileged } = spec;
    const settings = this.settings(task.spec, spec, inputs.host);
    const { limits, devices, namespaces, shmBytes, writableCgroups, maskedPaths, readonlyPaths } = settings;
    const { made, pid, ipc } = namespaces;
    const known = { cpus: this.host.cpus, maskedPaths, readonlyPaths };
    return joinSpec([
      encodeRecords([
        ...ownRecords(inputs, task.spec, spec, settings),
        ...joinRecords(namespaces, inputs.runDirOf),
        ...labelRecord(inputs.labels, this.host.security.selinux),
        rootRecord(inputs.image.layers, spec.readOnly, this.host.overlayParts),
      ]),
      this.#part(`groups ${JSON.stringify([limits, devices])}`, () => this.cgroups.records(limits, devices)),
      this.#part(`mounts ${[privileged, writableCgroups, made, pid, ipc, shmBytes]}`, () => [
        { name: 'BOOT', strings: [this.host.bootId] },
        { name: 'NAMESPACES', numbers: [made] },
        ...systemMounts({ cgroups: this.cgroups.mounts(writableCgroups), shmBytes, pid, ipc, privileged }),
      ]),
      encodeRecords([
        ...settings.deviceNodes,
        ...networkFileRecords(inputs.networkFiles, inputs.hostname),
        ...userMounts(inputs.mounts, this.places, networkFileMounts(inputs.networkFiles, spec.readOnly)),
      ]),
      this.#part(`masks ${JSON.stringify([maskedPaths, readonlyPaths])}`, () => protectedPaths(known)),
      this.#part(`sysctls ${JSON.stringify(spec.sysctls)} ${made} ${settings.domainname}`, () =>
        sysctls(spec, settings),
      ),
      this.#part(`limits ${JSON.stringify(spec.ulimits)}`, () => rlimits(spec.ulimits, this.host.hardNofile)),
      this.#part(`rights ${privileged} ${settings.seccomp} ${spec.capAdd} - ${spec.capDrop}`, () =>
        this.#rights(spec, settings),
      ),
    ]);
  }

  /** @throws ClusterError naming the field that cannot be honoured */
  settings(task: TaskSpec, spec: ContainerSpec, host: HostConfig | undefined): HostSettings {
    const here = { cgroups: this.cgroups, cpus: this.host.cpus, security: this.host.security };
    return host ? hostSettings(host, spec, here) : taskSettings(task, here);
  }

  #rights({ capAdd, capDrop, privileged }: ContainerSpec, { seccomp }: HostSettings): SpecRecord[] {
    const capabilities = containerCapabilities({ add: capAdd, drop: capDrop, privileged });
    return [
      { name: 'CAPABILITIES', numbers: [capabilityMask(capabilities, this.host.capabilities), 0] },
      ...this.#filter(seccomp, capabilities),
    ];
  }

  #filter(seccomp: string, capabilities: ReadonlySet<string>): SpecRecord[] {
    if (seccomp === 'unconfined') return [];
    if (seccomp === 'builtin') {
      const blob = this.seccomp(capabilities);
      return blob ? [{ name: 'SECCOMP', numbers: [0], blob }] : [];
    }
    const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
    const { program, flags } = customFilter(seccomp, { capabilities, arch, kernel: this.host.kernel });
    return [{ name: 'SECCOMP', numbers: [flags], blob: program }];
  }

  #part(key: string, make: () => SpecRecord[]): SpecPart {
    let part = this.#parts.get(key);
    if (!part) {
      part = encodeRecords(make());
      if (this.#parts.size >= PARTS_MAX) this.#parts.clear();
      this.#parts.set(key, part);
    }
    return part;
  }
}

/** What no two containers share. */
function ownRecords(
  inputs: ContainerInputs,
  task: TaskSpec,
  spec: ContainerSpec,
  { namespaces, noNewPrivileges, apparmor }: HostSettings,
): SpecRecord[] {
  const { id, image, hostname } = inputs;
  const log = logBounds(task);
  return [
    { name: 'ID', strings: [id] },
    { name: 'DIRS', strings: [inputs.dataDir, inputs.runDir] },
    { name: 'LOG', numbers: [log.segmentBytes, log.segmentCount] },
    ...(namespaces.ownUts ? [{ name: 'HOSTNAME', strings: [hostname] } as const] : []),
    ...(apparmor === '' ? [] : [{ name: 'APPARMOR', strings: [apparmor] } as const]),
    ...(spec.oomScoreAdj ? [{ name: 'OOM_SCORE', numbers: [spec.oomScoreAdj] } as const] : []),
    { name: 'USER', strings: [spec.user || image.config.user] },
    ...(spec.groups.length > 0 ? [{ name: 'GROUPS', strings: spec.groups } as const] : []),
    { name: 'CWD', strings: [absolute(spec.dir || image.config.workingDir || '/', 'dir')] },
    // Where another process is init already, there is no use for one. Source: moby, daemon/oci_linux.go.
    { name: 'FLAGS', numbers: [flagsOf(spec, noNewPrivileges, spec.init && namespaces.pid === 'own')] },
    { name: 'ENV', strings: environmentOf(spec, image.config, hostname) },
    { name: 'ARGS', strings: commandOf(spec, image.config) },
  ];
}

const flagsOf = ({ openStdin, tty }: ContainerSpec, noNewPrivileges: boolean, init: boolean): number =>
  (init ? SPEC_FLAGS.FLAG_INIT : 0) |
  (noNewPrivileges ? SPEC_FLAGS.FLAG_NO_NEW_PRIVILEGES : 0) |
  (openStdin ? SPEC_FLAGS.FLAG_STDIN : 0) |
  (tty ? SPEC_FLAGS.FLAG_TTY : 0);

/** Layers top first, by names relative to the directory they share: 127 of them must fit a page of mount options. */
export function rootRecord(layers: readonly Snapshot[], readOnly: boolean, parts: boolean): SpecRecord {
  const paths = layers.map(({ shortPath }) => shortPath).reverse();
  const first = paths[0];
  if (first === undefined) throw invalid('the image has no layers');
  let base = first.slice(0, first.lastIndexOf('/') + 1);
  while (!paths.every((path) => path.startsWith(base)))
    base = base.slice(0, base.lastIndexOf('/', base.length - 2) + 1);
  return {
    name: 'ROOT',
    numbers: [(readOnly ? SPEC_FLAGS.ROOT_READONLY : 0) | (parts ? SPEC_FLAGS.ROOT_PARTS : 0)],
    strings: [base, ...paths.map((path) => path.slice(base.length))],
  };
}

/** An image's layers, for whoever looks at its files without a container. */
export function imageTree({ layers }: LocalImage): ImageTree {
  const [base = '', ...names] = rootRecord(layers, false, false).strings ?? [];
  return { base, layers: names };
}

/** Of each container whose namespaces are joined, all at once. */
function joinRecords({ joins }: Namespaces, runDirOf: (id: string) => string): SpecRecord[] {
  const flags = new Map<string, number>();
  for (const { containerId, flag } of joins) flags.set(containerId, (flags.get(containerId) ?? 0) | flag);
  return [...flags].map(([id, joined]) => ({ name: 'JOIN', numbers: [joined], strings: [id, runDirOf(id)] }));
}

const NETWORK_FILES = ['resolv.conf', 'hosts', 'hostname'] as const;

/** Written by the shim into its run directory, where those that join this container's network find them as well. */
function networkFileRecords(files: ShimFiles | string, hostname: string): SpecRecord[] {
  if (typeof files === 'string') return [];
  const contents = { 'resolv.conf': files.resolvConf, hosts: files.hosts, hostname: `${hostname}\n` };
  return Object.entries(contents).map(([name, content]) => ({
    name: 'FILE',
    numbers: [content === undefined ? 0o644 | SPEC_FLAGS.FILE_KEPT : 0o644],
    strings: [name],
    blob: Buffer.from(content ?? ''),
  }));
}

/**
 * Bound over the image's own, and read-only where the root is. With another container's network come the very files of
 * that one.
 */
const networkFileMounts = (files: ShimFiles | string, readOnly: boolean): OwnFile[] =>
  NETWORK_FILES.map((name) => {
    const [flags, source] =
      typeof files === 'string'
        ? [SPEC_FLAGS.MOUNT_BASE, `${files}/${name}`]
        : [SPEC_FLAGS.MOUNT_RELATIVE, name];
    const target = `/etc/${name}`;
    const attributes = readOnly ? MOUNT_ATTR.RDONLY : 0;
    const numbers = [attributes, SPEC_FLAGS.MOUNT_FILE | flags, PROPAGATION.private];
    return { target, record: { name: 'BIND', numbers, strings: [target, source] } };
  });

function absolute(path: string, field: string): string {
  if (!path.startsWith('/')) throw invalid(`${field}: "${path}" must be an absolute path`);
  return path;
}

const UNITS: Record<string, number> = { '': 1, b: 1, k: 1 << 10, m: 1 << 20, g: 1 << 30 };

/**
 * What a log driver keeps unless its options say otherwise. json-file's is unbounded in Docker, which fills disks; with a
 * size it is one file, as there.
 */
const LOG_DEFAULTS: Readonly<Record<string, readonly [maxSize: string, maxFile: string]>> = {
  'json-file': ['8m', '4'],
  local: ['20m', '5'],
};

/** Bounds of the container's log; no segment at all for the driver `none`. */
export function logBounds({ logDriver }: TaskSpec): LogBounds {
  const name = logDriver?.name || 'json-file';
  if (name === 'none') return { segmentBytes: 1, segmentCount: 0 };
  const defaults = LOG_DEFAULTS[name];
  if (!defaults) throw invalid(`log driver "${name}" is not supported: use json-file, local or none`);
  const { 'max-size': asked, 'max-file': count = name === 'json-file' && asked ? '1' : defaults[1] } =
    logDriver?.options ?? {};
  const size = asked ?? defaults[0];
  const match = /^(\d+)([bkmg]?)b?$/i.exec(size);
  const segmentBytes = match ? Number(match[1]) * UNITS[match[2]!.toLowerCase()]! : 0;
  const segmentCount = Number(count);
  if (!(segmentBytes > 0)) throw invalid(`log-opt max-size: "${size}" must be a size such as 10m`);
  if (!Number.isInteger(segmentCount) || segmentCount < 1 || segmentCount > 64)
    throw invalid(`log-opt max-file: "${count}" must be between 1 and 64`);
  return { segmentBytes, segmentCount };
}
