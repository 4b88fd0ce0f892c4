import { execFile } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { KernelThread } from '../network/kernel-thread.js';
import type { NetworkManager } from '../network/network-manager.js';
import { type LabContainer, type LabHost, OverlayLab } from './overlay-lab.js';
import { aNetwork, anEndpoint, attach, openManager } from './overlay-site.js';

// TCP throughput and latency between containers on two hosts: through our network part, through a VXLAN and bridge
// made by hand with ip(8), and between the hosts themselves. All stand at once and are measured in turn, round after
// round, so that what else the machine does falls on each alike.

const run = promisify(execFile);

interface Options {
  readonly rounds: number;
  /** Of one throughput measurement. */
  readonly seconds: number;
  readonly pings: number;
}

/** A way between two namespaces. */
interface Path {
  readonly name: 'ours' | 'hand-made' | 'hosts';
  readonly client: string;
  readonly server: string;
  /** The server's. */
  readonly address: string;
}

interface Figures {
  readonly gigabits: number[];
  readonly milliseconds: number[];
}

const IPERF_PORT = '5999';

async function main(args: readonly string[]): Promise<void> {
  const number = (flag: string, fallback: number) =>
    args.includes(flag) ? Number(args[args.indexOf(flag) + 1]) : fallback;
  const options = {
    rounds: number('--rounds', 7),
    seconds: number('--seconds', 2),
    pings: number('--pings', 400),
  };
  const missing = await findMissing(['iperf3', 'ping', 'ip', 'bridge', 'nsenter']);
  if (missing.length > 0)
    throw new Error(`overlay: missing ${missing.join(', ')}; run npm run bench once to install`);
  const lab = new OverlayLab(4);
  const thread = new KernelThread();
  const managers: NetworkManager[] = [];
  try {
    const ourHosts = lab.hosts.slice(0, 2);
    // Hosts of their own: our rules on a host cost its other traffic something, too.
    const [third, fourth] = lab.hosts.slice(2) as [LabHost, LabHost];
    for (const host of ourHosts) managers.push(await openManager(lab, host, thread));
    const paths: Path[] = [
      await ourPath(lab, ourHosts, managers),
      await handMadePath(lab, [third, fourth]),
      { name: 'hosts', client: third.netns, server: fourth.netns, address: fourth.address },
    ];
    const figures = await measure(lab, paths, options);
    report(figures, args.includes('--json'));
  } finally {
    for (const manager of managers) await manager.close();
    await thread.close();
    await lab.close();
  }
}

async function findMissing(programs: readonly string[]): Promise<string[]> {
  const found = await Promise.all(
    programs.map((program) =>
      run('sh', ['-c', `command -v ${program}`]).then(
        () => [],
        () => [program],
      ),
    ),
  );
  return found.flat();
}

async function ourPath(
  lab: OverlayLab,
  hosts: readonly LabHost[],
  managers: readonly NetworkManager[],
): Promise<Path> {
  const endpoints = hosts.map((host, index) => anEndpoint(host, `10.0.1.${5 + index}`));
  const desired = { networks: [aNetwork(1, 'shop')], endpoints, virtualServices: [] };
  await Promise.all(managers.map((manager) => manager.apply(desired, 1)));
  const containers: LabContainer[] = [];
  for (const [index, manager] of managers.entries()) {
    const container = await lab.container();
    await attach(manager, container, endpoints.slice(index, index + 1));
    containers.push(container);
  }
  const [client, server] = containers as [LabContainer, LabContainer];
  return { name: 'ours', client: client.netns, server: server.netns, address: '10.0.1.6' };
}

/** Bridge and VXLAN in a namespace of their own, as the fabric's are, and entries by hand; no firewall at all. */
async function handMadePath(lab: OverlayLab, hosts: readonly [LabHost, LabHost]): Promise<Path> {
  const containers = [await lab.container(), await lab.container()] as const;
  const fabrics = [await lab.container(), await lab.container()] as const;
  const mac = (index: number) => `02:00:00:00:09:0${index + 1}`;
  for (const [index, host] of hosts.entries()) {
    const other = 1 - index;
    const fabric = fabrics[index as 0 | 1];
    const container = containers[index as 0 | 1];
    const inHost = (...args: string[]) => lab.exec(host.netns, 'ip', ...args);
    const inFabric = (...args: string[]) => lab.exec(fabric.netns, 'ip', ...args);
    const inContainer = (...args: string[]) => lab.exec(container.netns, 'ip', ...args);
    await inHost(
      ...`link add vxh type vxlan id 9 local ${host.address} dstport 4790 nolearning noudpcsum`.split(' '),
    );
    await inHost('link', 'set', 'vxh', 'netns', String(fabric.pid));
    await inFabric('link', 'add', 'brh', 'type', 'bridge');
    await inFabric('link', 'set', 'vxh', 'master', 'brh', 'mtu', '1450', 'up');
    await inFabric('link', 'set', 'brh', 'mtu', '1450', 'up');
    await inFabric(...`link add cvh type veth peer name eth0 netns ${container.pid}`.split(' '));
    await inFabric('link', 'set', 'cvh', 'master', 'brh', 'mtu', '1450', 'up');
    await inContainer('link', 'set', 'eth0', 'address', mac(index), 'mtu', '1450', 'up');
    await inContainer('addr', 'add', `10.98.0.${index + 1}/24`, 'dev', 'eth0');
    await lab.exec(
      fabric.netns,
      'bridge',
      ...`fdb append ${mac(other)} dev vxh dst ${hosts[other]?.address}`.split(' '),
    );
    await inContainer('neigh', 'add', `10.98.0.${other + 1}`, 'lladdr', mac(other), 'dev', 'eth0');
  }
  return {
    name: 'hand-made',
    client: containers[0].netns,
    server: containers[1].netns,
    address: '10.98.0.2',
  };
}

async function measure(
  lab: OverlayLab,
  paths: readonly Path[],
  { rounds, seconds, pings }: Options,
): Promise<ReadonlyMap<Path['name'], Figures>> {
  const figures = new Map(
    paths.map(({ name }): [Path['name'], Figures] => [name, { gigabits: [], milliseconds: [] }]),
  );
  const servers = paths.map((path) => lab.spawn(path.server, 'iperf3', '-s', '-p', IPERF_PORT));
  try {
    for (const path of paths) await listening(lab, path);
    for (let round = 0; round < rounds; round++) {
      // Who comes first changes from round to round.
      for (let turn = 0; turn < paths.length; turn++) {
        const path = paths[(turn + round) % paths.length] as Path;
        const to = figures.get(path.name) as Figures;
        to.gigabits.push(await throughput(lab, path, seconds));
        to.milliseconds.push(await latency(lab, path, pings));
        process.stderr.write('.');
      }
    }
    process.stderr.write('\n');
  } finally {
    for (const server of servers) server.kill('SIGKILL');
  }
  return figures;
}

/** Waits until the server takes connections. */
async function listening(lab: OverlayLab, path: Path): Promise<void> {
  const giveUpAt = systemClock.monotonic() + 20_000;
  for (;;) {
    const sockets = await lab.exec(path.server, 'cat', '/proc/net/tcp', '/proc/net/tcp6');
    const port = Number(IPERF_PORT).toString(16).toUpperCase().padStart(4, '0');
    if (new RegExp(`:${port} [0:]+ 0A `).test(sockets)) return;
    if (systemClock.monotonic() > giveUpAt) throw new Error(`no iperf3 server for ${path.name}`);
  }
}

async function throughput(lab: OverlayLab, path: Path, seconds: number): Promise<number> {
  const args = ['-c', path.address, '-p', IPERF_PORT, '-t', String(seconds), '-J'];
  const answer = JSON.parse(await lab.exec(path.client, 'iperf3', ...args)) as {
    end: { sum_received: { bits_per_second: number } };
  };
  return answer.end.sum_received.bits_per_second / 1e9;
}

/** The mean round trip. */
async function latency(lab: OverlayLab, path: Path, pings: number): Promise<number> {
  const text = await lab.exec(path.client, 'ping', '-q', '-i', '0.005', '-c', String(pings), path.address);
  return Number(/= [\d.]+\/([\d.]+)\//.exec(text)?.[1]);
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
};

/** The median of the rounds' own ratios: what disturbed a round disturbed both. */
const pairedRatio = (ours: readonly number[], theirs: readonly number[]): number =>
  median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));

function report(figures: ReadonlyMap<Path['name'], Figures>, json: boolean): void {
  const of = (name: Path['name']) => figures.get(name) as Figures;
  const rows = (['gigabits', 'milliseconds'] as const).map((what) => ({
    name: what === 'gigabits' ? 'TCP throughput, one stream' : 'round trip (ping)',
    unit: what === 'gigabits' ? 'Gbit/s' : 'ms',
    ours: median(of('ours')[what]),
    peer: median(of('hand-made')[what]),
    floor: median(of('hosts')[what]),
    ratio: pairedRatio(of('ours')[what], of('hand-made')[what]),
  }));
  const digits = (row: (typeof rows)[number], value: number) => value.toFixed(row.unit === 'ms' ? 3 : 2);
  const table = [
    ['overlay', 'ours', 'hand-made', 'hosts', 'ours : hand-made'],
    ...rows.map((row) => [
      `${row.name}, ${row.unit}`,
      digits(row, row.ours),
      digits(row, row.peer),
      digits(row, row.floor),
      row.ratio.toFixed(3),
    ]),
  ];
  for (const line of table)
    console.log(line.map((cell, column) => (column === 0 ? cell.padEnd(34) : cell.padStart(18))).join(''));
  if (!json) return;
  const metrics = rows.map(({ name, unit, ours, peer, floor }) => ({
    name,
    unit,
    ours,
    peer,
    peerName: 'hand-made VXLAN + bridge',
    floor,
  }));
  console.log(JSON.stringify({ bench: 'overlay', metrics }));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
