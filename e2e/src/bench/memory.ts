// npm run bench -- memory [--containers 100] [--json]
import { parseArgs } from 'node:util';
import { type Metric, printReport } from '@tessera/shared/bench';
import type { LabHost } from '../lab/host.js';
import {
  CONTAINER_PATTERN,
  createService,
  type Engine,
  removeService,
  waitGone,
  waitRunning,
} from './engine.js';
import { startSwarm } from './swarm.js';
import { startTessera } from './tessera.js';

const { values } = parseArgs({
  options: { containers: { type: 'string', default: '100' }, json: { type: 'boolean', default: false } },
});
const COUNT = Number(values.containers);

interface Memory {
  readonly processes: number;
  readonly rssKiB: number;
  readonly pssKiB: number;
}

/** Resident and proportional memory of a host's processes whose command line matches (proc(5), smaps_rollup). */
async function memoryOf(host: LabHost, pattern: string): Promise<Memory> {
  const { stdout } = await host.exec([
    'sh',
    '-c',
    `for p in $(pgrep -f '${pattern}'); do awk '/^Rss:/{r=$2}/^Pss:/{p=$2}END{if(r)print r,p}' /proc/$p/smaps_rollup 2>/dev/null; done`,
  ]);
  const rows = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ').map(Number) as [number, number]);
  return {
    processes: rows.length,
    rssKiB: rows.reduce((sum, [rss]) => sum + rss, 0),
    pssKiB: rows.reduce((sum, [, pss]) => sum + pss, 0),
  };
}

interface Figures {
  readonly perContainerPssKiB: number;
  readonly idleRssKiB: Readonly<Record<string, number>>;
  readonly busyRssKiB: Readonly<Record<string, number>>;
}

async function measure(engine: Engine, shimPattern: string): Promise<Figures> {
  const manager = engine.hosts[0]!;
  const daemons = async () => {
    const entries = Object.entries(engine.daemons).map(
      async ([name, pattern]) => [name, (await memoryOf(manager, pattern)).rssKiB] as const,
    );
    return Object.fromEntries(await Promise.all(entries));
  };
  const idleRssKiB = await daemons();
  await createService(engine, 'm', COUNT);
  await waitRunning(engine, 'm', COUNT);
  const busyRssKiB = await daemons();
  const shims = await Promise.all(engine.hosts.map((host) => memoryOf(host, shimPattern)));
  const processes = shims.reduce((sum, shim) => sum + shim.processes, 0);
  const perContainerPssKiB = shims.reduce((sum, shim) => sum + shim.pssKiB, 0) / processes;
  await removeService(engine, 'm');
  await waitGone(engine, CONTAINER_PATTERN);
  return { perContainerPssKiB, idleRssKiB, busyRssKiB };
}

const ours = await startTessera();
const peer = await startSwarm();
try {
  const oursFigures = await measure(ours, '^[^ ]*ts-shim');
  const peerFigures = peer && (await measure(peer, 'containerd-shim-runc-v2 '));
  const peerDaemons = (figures: Figures['idleRssKiB'] | undefined) =>
    figures && ((figures.dockerd ?? 0) + (figures.containerd ?? 0)) / 1024;
  const metrics: Metric[] = [
    {
      name: 'shim, PSS per container',
      unit: 'KiB',
      ours: oursFigures.perContainerPssKiB,
      peer: peerFigures?.perContainerPssKiB,
      peerName: peer && 'containerd-shim',
    },
  ];
  for (const [when, mine, theirs] of [
    ['idle', oursFigures.idleRssKiB, peerFigures?.idleRssKiB],
    [`with ${COUNT} tasks`, oursFigures.busyRssKiB, peerFigures?.busyRssKiB],
  ] as const) {
    metrics.push(
      { name: `agent, RSS ${when}`, unit: 'MiB', ours: (mine.agent ?? 0) / 1024 },
      { name: `manager, RSS ${when}`, unit: 'MiB', ours: (mine.manager ?? 0) / 1024 },
      {
        name: `agent + manager + etcd, RSS ${when}`,
        unit: 'MiB',
        ours: Object.values(mine).reduce((sum, kib) => sum + kib, 0) / 1024,
        peer: peerDaemons(theirs),
        peerName: peer && 'dockerd + containerd',
      },
    );
  }
  printReport('memory', metrics, {
    json: values.json,
    notes: peer ? [] : ['Docker was not measured: install docker.io (deploy/install/setup.sh --bench)'],
  });
} finally {
  await Promise.all([ours.down(), peer?.down()]);
}
