// npm run bench -- pull [--megabytes 500] [--layers 20] [--rounds 3] [--json]
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { makeArchive, makeLayer } from '@tessera/agent/image/testing';
import { type Metric, median, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { LabCluster } from '../lab/cluster.js';
import { must } from '../lab/command.js';
import { Lab } from '../lab/lab.js';
import { INSECURE_REGISTRY_ARGS, LabRegistry } from '../lab/registry.js';
import { besideDockerd } from './beside-dockerd.js';
import { startDockerHost } from './docker-host.js';

const { values } = parseArgs({
  options: {
    megabytes: { type: 'string', default: '500' },
    layers: { type: 'string', default: '20' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const layerCount = Number(values.layers);
const layerBytes = Math.floor((Number(values.megabytes) * 1e6) / layerCount);

/** Half of each layer can be compressed, as programs can; many small files and some large ones. */
async function makeImage(path: string, name: string): Promise<void> {
  const layers: Buffer[] = [];
  for (let number = 1; number <= layerCount; number++) {
    const entries = [];
    for (let at = 0, file = 0; at < layerBytes; file++) {
      const size = Math.min(layerBytes - at, file % 10 === 0 ? 4_000_000 : 40_000);
      const content = Buffer.alloc(size, number);
      randomBytes(size >> 1).copy(content);
      entries.push({ name: `layer${number}/file${file}`, content });
      at += size;
    }
    layers.push(await makeLayer(entries));
  }
  writeFileSync(path, await makeArchive([{ names: [name], layers }], { layerCompression: 'gzip' }));
}

/** From the command to its end. */
async function loadMs(socket: string, archive: string): Promise<number> {
  const beganMs = systemClock.monotonic();
  await must(['docker', '-H', `unix://${socket}`, 'load', '-i', archive]);
  return systemClock.monotonic() - beganMs;
}

/** From the command to its end: the image is here, whole and unpacked. */
async function pullMs(socket: string, name: string): Promise<number> {
  const docker = (...words: string[]) => must(['docker', '-H', `unix://${socket}`, ...words]);
  const beganMs = systemClock.monotonic();
  await docker('pull', '-q', name);
  const tookMs = systemClock.monotonic() - beganMs;
  await docker('rmi', name);
  return tookMs;
}

const directory = mkdtempSync(`${tmpdir()}/tessera-bench-`);
process.once('exit', () => rmSync(directory, { recursive: true }));
const archive = `${directory}/bench.tar`;
const metrics: Metric[] = [];
// One host each: what two of ours keep is loaded twice, here by the same processors.
await besideDockerd('load', async ({ sockets, compared }) => {
  await makeImage(archive, 'bench:1');
  const tookMs = [];
  for (const socket of sockets) tookMs.push(await loadMs(socket, archive));
  metrics.push(compared(`load ${values.megabytes} MB, one host`, 'ms', tookMs));
});

// Two hosts: one pulls, the other has the registry. A third of the same kind is dockerd's.
const lab = await Lab.up({
  name: `pull${process.pid}`,
  hosts: 2,
  capacity: { cpus: 2, memoryBytes: 8 * 2 ** 30 },
  agentArgs: INSECURE_REGISTRY_ARGS,
});
let peer: Awaited<ReturnType<typeof startDockerHost>>;
try {
  const cluster = await LabCluster.form(lab);
  const registry = await LabRegistry.start(lab.hosts[1]!);
  const name = `${registry.host}/bench:1`;
  await makeImage(archive, name);
  const ours = cluster.manager.socket;
  const docker = (...words: string[]) => must(['docker', '-H', `unix://${ours}`, ...words]);
  await docker('load', '-i', archive);
  await docker('push', '-q', name);
  await docker('rmi', name);

  peer = await startDockerHost(lab, { args: ['--insecure-registry', '10.0.0.0/8'] });
  const oursMs: number[] = [];
  const peerMs: number[] = [];
  // In turn, so that a noisy machine is as noisy for both.
  for (let round = 0; round < Number(values.rounds); round++) {
    oursMs.push(await pullMs(ours, name));
    if (peer) peerMs.push(await pullMs(peer.socket, name));
  }
  // To a registry that has nothing of it yet.
  const empty = await LabRegistry.start(lab.hosts[1]!, { port: 5001 });
  const push = async (socket: string, other: string) => {
    const client = (...words: string[]) => must(['docker', '-H', `unix://${socket}`, ...words]);
    const tookMs = await loadMs(socket, archive);
    await client('tag', name, `${empty.host}/${other}`);
    const pushing = systemClock.monotonic();
    await client('push', '-q', `${empty.host}/${other}`);
    return { loadMs: tookMs, pushMs: systemClock.monotonic() - pushing };
  };
  const own = await push(ours, 'ours:1');
  const theirs = peer && (await push(peer.socket, 'peer:1'));
  const peerName = peer && 'dockerd';
  const unit = 'ms';
  metrics.push(
    {
      name: `pull ${values.megabytes} MB, ${layerCount} layers`,
      unit,
      ours: median(oursMs),
      peer: peer && median(peerMs),
      peerName,
    },
    { name: 'load, kept by two hosts', unit, ours: own.loadMs, peer: theirs?.loadMs, peerName },
    { name: 'push', unit, ours: own.pushMs, peer: theirs?.pushMs, peerName },
  );
} finally {
  await peer?.down();
  await lab.down();
}
printReport('pull', metrics, {
  json: values.json,
  notes: [
    'push: ours sends the layers as they are, dockerd compresses them anew.',
    ...(peer ? [] : ['dockerd was not measured: install docker.io (deploy/install/setup.sh --bench)']),
  ],
});
