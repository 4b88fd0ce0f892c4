import { LabCluster } from '../lab/cluster.js';
import { Lab } from '../lab/lab.js';
import type { Engine } from './engine.js';

/** Our own three hosts, at default settings. */
export async function startTessera(): Promise<Engine> {
  const lab = await Lab.up({ name: `bench${process.pid}`, capacity: { cpus: 2, memoryBytes: 8 * 2 ** 30 } });
  const cluster = await LabCluster.form(lab);
  return {
    name: 'tessera',
    hosts: lab.hosts,
    socket: cluster.manager.socket,
    daemons: { agent: 'agent/dist/main.js', manager: 'manager/dist/main.js', etcd: '^(/usr/bin/)?etcd ' },
    restart: (host) => host.start(),
    down: () => lab.down(),
  };
}
