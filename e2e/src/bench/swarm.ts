import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { api } from '../lab/api.js';
import { ended, must } from '../lab/command.js';
import { LabHost } from '../lab/host.js';
import { makeLabImage } from '../lab/images.js';
import { labCgroup, labDir, ROOT } from '../lab/paths.js';
import { Switch } from '../lab/switch.js';
import { hasDockerd, socketOf, startDockerd } from './docker-host.js';
import type { Engine } from './engine.js';

/** Docker Swarm of Debian's docker.io on three hosts of the same kind, or undefined where it is not installed. */
export async function startSwarm(): Promise<Engine | undefined> {
  if (!(await hasDockerd())) return undefined;
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
  await Promise.all(hosts.map((host) => startDockerd(host)));

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
    restart: (host) => startDockerd(host),
    async down() {
      await Promise.all(hosts.map((host) => host.kill()));
      await wires.down();
      janitor.stdin?.end();
      await ended(janitor);
    },
  };
}
