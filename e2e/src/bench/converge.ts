// npm run bench -- converge [--sizes 3,30,100] [--rounds 3] [--json]
import { parseArgs } from 'node:util';
import { type Metric, median, printReport } from '@tessera/shared/bench';
import { systemClock } from '@tessera/shared/env';
import {
  CONTAINER_PATTERN,
  createService,
  type Engine,
  quiet,
  removeService,
  waitGone,
  waitRunning,
} from './engine.js';
import { startSwarm } from './swarm.js';
import { startTessera } from './tessera.js';

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '3,30,100' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});

/** From the request to all replicas running, ms. */
async function converge(engine: Engine, replicas: number): Promise<number> {
  const name = `c${replicas}`;
  const beganMs = systemClock.monotonic();
  await createService(engine, name, replicas);
  await waitRunning(engine, name, replicas);
  const tookMs = systemClock.monotonic() - beganMs;
  await removeService(engine, name);
  await waitGone(engine, CONTAINER_PATTERN);
  return tookMs;
}

const ours = await startTessera();
const peer = await startSwarm();
const metrics: Metric[] = [];
try {
  for (const size of values.sizes.split(',').map(Number)) {
    const oursMs: number[] = [];
    const peerMs: number[] = [];
    // In turn, so that a noisy machine is as noisy for both.
    for (let round = 0; round < Number(values.rounds); round++) {
      await quiet(ours, peer);
      oursMs.push(await converge(ours, size));
      await quiet(ours, peer);
      if (peer) peerMs.push(await converge(peer, size));
    }
    metrics.push({
      name: `create --replicas ${size}`,
      unit: 'ms',
      ours: median(oursMs),
      peer: peer && median(peerMs),
      peerName: peer?.name,
    });
  }
} finally {
  await Promise.all([ours.down(), peer?.down()]);
}
printReport('converge', metrics, {
  json: values.json,
  notes: peer ? [] : ['Docker Swarm was not measured: install docker.io (deploy/install/setup.sh --bench)'],
});
