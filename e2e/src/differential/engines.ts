import { chmodSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { makeBusyboxArchive } from '@tessera/agent/image/testing';
import { startDockerHost } from '../bench/docker-host.js';
import { LabCluster } from '../lab/cluster.js';
import { must } from '../lab/command.js';
import { Lab } from '../lab/lab.js';
import { ROOT } from '../lab/paths.js';
import { INSECURE_REGISTRY_ARGS, LabRegistry } from '../lab/registry.js';
import type { ApiVersion } from './case.js';
import type { Engine } from './play.js';

/** An engine of Docker's to compare with. */
export interface DockerEngine {
  readonly name: string;
  readonly versionMax: ApiVersion;
  /** The directory of its own Debian in which dockerd lives; undefined: this machine's. */
  readonly root?: string;
}

/** Debian 12's. */
export const DOCKER_20: DockerEngine = { name: '20.10', versionMax: '1.41' };
/** Debian 13's. */
export const DOCKER_26: Required<DockerEngine> = {
  name: '26.1',
  versionMax: '1.45',
  root: `${ROOT}.cache/engine-trixie`,
};

const CAPACITY = { cpus: 2, memoryBytes: 4 * 2 ** 30 };

/** Three hosts as one engine, and beside them a host with dockerd; images and a registry for both. */
export class Bench {
  private constructor(
    private readonly lab: Lab,
    private readonly peer: { down(): Promise<void> },
    readonly ours: Engine,
    readonly docker: Engine,
  ) {}

  static async up(name: string, engine: DockerEngine): Promise<Bench> {
    const lab = await Lab.up({ name, capacity: CAPACITY, agentArgs: INSECURE_REGISTRY_ARGS });
    try {
      const [cluster, peer] = await Promise.all([
        LabCluster.form(lab),
        startDockerHost(lab, { args: INSECURE_REGISTRY_ARGS, root: engine.root }),
      ]);
      if (!peer) throw new Error('dockerd is missing: deploy/install/setup.sh --test installs docker.io');
      const registry = await LabRegistry.start(cluster.manager);
      const ours: Engine = {
        name: 'tessera',
        socket: cluster.manager.socket,
        registry: `${registry.host}/ours`,
        versionMax: '1.50',
      };
      const docker: Engine = {
        name: engine.name,
        socket: peer.socket,
        registry: `${registry.host}/docker`,
        versionMax: engine.versionMax,
      };
      await loadImages(lab, [ours, docker]);
      return new Bench(lab, peer, ours, docker);
    } catch (error) {
      await lab.down();
      throw error;
    }
  }

  async down(): Promise<void> {
    await this.peer.down();
    await this.lab.down();
  }
}

/** `busybox` as it is, and `rich:1`: four layers, and something in every field that an image can have. */
async function loadImages(lab: Lab, engines: readonly Engine[]): Promise<void> {
  const [plain, rich] = [`${lab.dir}/busybox.tar`, `${lab.dir}/rich.tar`];
  await makeBusyboxArchive(plain);
  await makeBusyboxArchive(rich, {
    names: ['rich:1'],
    layers: 4,
    config: {
      Entrypoint: ['/bin/sh', '-c'],
      Cmd: ['echo from the image'],
      Env: ['PATH=/bin', 'FROM_IMAGE=yes'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Labels: { 'from.image': 'yes' },
      StopSignal: 'SIGINT',
      User: 'www-data',
      WorkingDir: '/www',
      Volumes: { '/data': {} },
      Shell: ['/bin/ash', '-c'],
    },
  });
  await Promise.all(
    engines.map(async ({ socket }) => {
      for (const archive of [plain, rich])
        await must(['docker', '-H', `unix://${socket}`, 'load', '-q', '-i', archive]);
    }),
  );
}

/** Makes the Debian that a newer dockerd lives in, where it is not there yet: about two minutes. */
export async function makeEngineRoot(root: string, say: (line: string) => void): Promise<void> {
  if (existsSync(`${root}/usr/sbin/dockerd`)) return;
  say(`making Debian 13 with its docker.io in ${root}; once`);
  const unfinished = `${root}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  await must([
    'mmdebstrap',
    '--quiet',
    '--variant=minbase',
    '--include=docker.io,docker-cli,iptables,procps',
    '--dpkgopt=path-exclude=/usr/share/doc/*',
    '--dpkgopt=path-exclude=/usr/share/man/*',
    'trixie',
    unfinished,
  ]);
  chmodSync(unfinished, 0o755);
  renameSync(unfinished, root);
}
