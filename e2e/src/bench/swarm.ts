import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync } from 'node:fs';
import { api } from '../lab/api.js';
import { ended, must, run } from '../lab/command.js';
import { LabHost } from '../lab/host.js';
import { makeLabImage } from '../lab/images.js';
import { labCgroup, labDir, ROOT } from '../lab/paths.js';
import { Switch } from '../lab/switch.js';
import { waitFor } from '../lab/wait.js';
import type { Engine } from './engine.js';

/** Docker Swarm of Debian's docker.io on three hosts of the same kind, or undefined where it is not installed. */
export async function startSwarm(): Promise<Engine | undefined> {
  if ((await run(['sh', '-c', 'command -v dockerd && command -v containerd'])).code !== 0) return undefined;
  const name = `swarm${process.pid}`;
  mkdirSync(labDir(name), { mode: 0o711 });
  const janitor = spawn(`${ROOT}e2e/lab/janitor.sh`, [labDir(name), labCgroup(name)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const wires = await Switch.up();
  const hosts = [1, 2, 3].map(
    (index) =>
      new LabHost({
        lab: name,
        index,
        wires,
        capacity: { cpus: 2, memoryBytes: 8 * 2 ** 30 },
        agentArgs: [],
      }),
  );
  await Promise.all(hosts.map(startDockerd));

  const archive = `${labDir(name)}/busybox.tar`;
  await makeLabImage(archive);
  for (const host of hosts) {
    await must(['docker', '-H', `unix://${socketOf(host)}`, 'load', '-i', archive]);
  }
  const [first, ...rest] = hosts as [LabHost, ...LabHost[]];
  await api(socketOf(first), 'POST', '/v1.41/swarm/init', {
    ListenAddr: `${first.address}:2377`,
    AdvertiseAddr: first.address,
  });
  const { JoinTokens } = await api<{ JoinTokens: { Worker: string } }>(
    socketOf(first),
    'GET',
    '/v1.41/swarm',
  );
  for (const host of rest) {
    await api(socketOf(host), 'POST', '/v1.41/swarm/join', {
      ListenAddr: `${host.address}:2377`,
      AdvertiseAddr: host.address,
      RemoteAddrs: [`${first.address}:2377`],
      JoinToken: JoinTokens.Worker,
    });
  }
  return {
    name: 'docker swarm',
    hosts,
    socket: socketOf(first),
    daemons: { dockerd: '^dockerd ', containerd: '^containerd ', shim: 'containerd-shim-runc-v2 ' },
    restart: startDockerd,
    async down() {
      await Promise.all(hosts.map((host) => host.kill()));
      await wires.down();
      janitor.stdin?.end();
      await ended(janitor);
    },
  };
}

const socketOf = (host: LabHost) => `${host.runDir}/docker.sock`;

async function startDockerd(host: LabHost): Promise<void> {
  await host.powerOn();
  const log = openSync(`${host.dir}/dockerd.log`, 'a');
  const daemon: ChildProcess = spawn(
    'nsenter',
    host
      .enterCommand([
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
