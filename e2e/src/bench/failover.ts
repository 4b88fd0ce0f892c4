// npm run bench -- failover [--rounds 3] [--json]
import { parseArgs } from 'node:util';
import { median, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import { waitFor } from '../lab/wait.js';
import {
  CONTAINER_PATTERN,
  createService,
  type Engine,
  nodeIdOf,
  quiet,
  removeService,
  runningElsewhere,
  waitGone,
  waitNodeReady,
  waitRunning,
} from './engine.js';
import { startSwarm } from './swarm.js';
import { startTessera } from './tessera.js';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, json: { type: 'boolean', default: false } },
});
const REPLICAS = 9;

/** From the power cut of one host to all replicas running on the others, ms, at default settings. */
async function failover(engine: Engine): Promise<number> {
  await createService(engine, 'f', REPLICAS);
  await waitRunning(engine, 'f', REPLICAS);
  const victim = engine.hosts[2]!;
  const nodeId = await nodeIdOf(engine, victim);
  const beganMs = systemClock.monotonic();
  await victim.kill();
  await waitFor(
    `the replacements on ${engine.name}`,
    async () => (await runningElsewhere(engine, 'f', nodeId)) >= REPLICAS,
    { timeoutMs: 180_000, intervalMs: 20 },
  );
  const tookMs = systemClock.monotonic() - beganMs;
  await engine.restart(victim);
  await waitNodeReady(engine, nodeId);
  await removeService(engine, 'f');
  await waitGone(engine, CONTAINER_PATTERN);
  return tookMs;
}

const ours = await startTessera();
const peer = await startSwarm();
const oursMs: number[] = [];
const peerMs: number[] = [];
try {
  for (let round = 0; round < Number(values.rounds); round++) {
    await quiet(ours, peer);
    oursMs.push(await failover(ours));
    await quiet(ours, peer);
    if (peer) peerMs.push(await failover(peer));
  }
} finally {
  await Promise.all([ours.down(), peer?.down()]);
}
printReport(
  'failover',
  [
    {
      name: 'host killed → replaced',
      unit: 'ms',
      ours: median(oursMs),
      peer: peer && median(peerMs),
      peerName: peer?.name,
    },
  ],
  {
    json: values.json,
    notes: peer ? [] : ['Docker Swarm was not measured: install docker.io (deploy/install/setup.sh --bench)'],
  },
);
