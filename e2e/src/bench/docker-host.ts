import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { api } from '../lab/api.js';
import { run } from '../lab/command.js';
import { LabHost } from '../lab/host.js';
import type { Lab } from '../lab/lab.js';
import { waitFor } from '../lab/wait.js';

export const hasDockerd = async (): Promise<boolean> =>
  (await run(['sh', '-c', 'command -v dockerd && command -v containerd'])).code === 0;

export interface DockerdOptions {
  readonly args?: readonly string[];
  /** A directory with a Debian of its own, whose dockerd it is; undefined: this machine's. */
  readonly root?: string | undefined;
}

/** One more host of a lab, with dockerd on it; undefined where it is not installed. It ends before its lab does. */
export async function startDockerHost(
  lab: Lab,
  options: DockerdOptions = {},
): Promise<{ readonly host: LabHost; readonly socket: string; down(): Promise<void> } | undefined> {
  if (options.root === undefined && !(await hasDockerd())) return undefined;
  const host = new LabHost({
    lab: lab.name,
    index: lab.hosts.length + 1,
    wires: lab.wires,
    capacity: { cpus: 2, memoryBytes: 8 * 2 ** 30 },
    agentArgs: [],
  });
  await startDockerd(host, options);
  return { host, socket: socketOf(host), down: () => host.kill() };
}

export const socketOf = (host: LabHost) => `${host.runDir}/docker.sock`;

/** Switches a host on that runs dockerd in place of our agent. */
export async function startDockerd(host: LabHost, options: DockerdOptions = {}): Promise<void> {
  const { args = [], root } = options;
  await host.powerOn();
  const log = openSync(`${host.dir}/dockerd.log`, 'a');
  const daemon: ChildProcess = spawn(
    'nsenter',
    host
      .enterCommand([
        ...(root === undefined ? [] : inRoot(host, root)),
        'dockerd',
        '-H',
        'unix:///run/tessera/docker.sock',
        '--data-root',
        `${host.dataDir}/docker`,
        '--exec-root',
        '/run/docker-exec',
        '--pidfile',
        '/run/dockerd.pid',
        '--cgroup-parent',
        host.cgroupParent,
        '--storage-driver',
        'overlay2',
        '--exec-opt',
        'native.cgroupdriver=cgroupfs',
        ...args,
      ])
      .slice(1),
    {
      stdio: ['ignore', log, log],
      // No registry here: the local image is to be taken at once.
      env: { ...process.env, DOCKER_SERVICE_PREFER_OFFLINE_IMAGE: '1' },
    },
  );
  closeSync(log);
  await waitFor(`dockerd on ${host.name}`, async () => {
    if (daemon.exitCode !== null) throw new Error(`dockerd ended: see ${host.dir}/dockerd.log`);
    return (
      existsSync(socketOf(host)) &&
      (await api(socketOf(host), 'GET', '/_ping').then(
        () => true,
        () => false,
      ))
    );
  });
}

/** What a command is prefixed with that finds another Debian as its root, and there the host's devices and data. */
const inRoot = (host: LabHost, root: string): string[] => [
  'sh',
  '-ec',
  // A mount of its own, since dockerd changes the propagation of its root.
  `mount --bind ${root} ${root}
  mount -t tmpfs tmpfs ${root}/tmp
  mkdir -p ${root}${host.dataDir}
  for part in /proc /sys /dev /run ${host.dataDir}; do mount --rbind $part ${root}$part; done
  exec chroot ${root} "$@"`,
  'sh',
];
