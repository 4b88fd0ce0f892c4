import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { LabCluster } from './cluster.js';
import type { LabHost } from './host.js';
import { Lab } from './lab.js';
import { Switch } from './switch.js';

/** Served by the first host, and by no manager. */
const ETCD = `http://${Switch.address(1)}:2379`;

/** A lab whose first two hosts are managers on one etcd that is none of theirs, and whose others are workers. */
export async function upWithTwoManagers(name: string): Promise<LabCluster> {
  const lab = await Lab.up({ name, agentArgs: ['--etcd-endpoints', ETCD] });
  try {
    const [first, second, ...workers] = lab.hosts as [LabHost, LabHost, ...LabHost[]];
    startEtcd(first);
    await first.tsctl('cluster', 'init', '--advertise-addr', first.address);
    await second.tsctl('cluster', 'init', '--advertise-addr', second.address);
    const token = (await first.tsctl('cluster', 'token', 'worker', '-q')).trim();
    await Promise.all(
      workers.map((host) => host.tsctl('cluster', 'join', '--token', token, `${first.address}:2377`)),
    );
    return await LabCluster.adopt(lab);
  } catch (error) {
    await lab.down();
    throw error;
  }
}

/** It dies with the host. Managers wait for it. */
function startEtcd(on: LabHost): void {
  const dir = `${on.dir}/external-etcd`;
  mkdirSync(dir);
  const sockets = `${on.runDir}/etcd`;
  mkdirSync(sockets, { recursive: true, mode: 0o700 });
  const command = [
    'etcd',
    '--data-dir',
    dir,
    '--listen-client-urls',
    // The socket is where a manager's own etcd has it: what looks into the store finds it there.
    `${ETCD},unix://client:0`,
    '--advertise-client-urls',
    ETCD,
    '--listen-peer-urls',
    'http://127.0.0.1:0',
  ];
  // etcd takes a socket's path as the name of a host, which has no slashes.
  const [file, ...args] = on.enterCommand(['env', `--chdir=${sockets}`, ...command]) as [string, ...string[]];
  spawn(file, args, { stdio: 'ignore' });
}
