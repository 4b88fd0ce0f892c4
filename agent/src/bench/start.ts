// npm run bench -- start [--count 200] [-c 1] [--json]
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Metric, printReport, quantile } from '@tessera/shared/bench';
import { startOurs } from './start-ours.js';
import { type Contestant, startFloor, startRuntime } from './start-peers.js';
import { StartSite } from './start-site.js';

// One container's whole life: created, started, its command (true) ended, everything removed. Each with the
// overlay root and the veth inside the timed part.

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '200' },
    concurrency: { type: 'string', short: 'c', default: '1' },
    rounds: { type: 'string', default: '4' },
    json: { type: 'boolean', default: false },
  },
});
const count = Number(values.count);
const concurrency = Number(values.concurrency);
const rounds = Number(values.rounds);

const dir = mkdtempSync(join(tmpdir(), 'ts-bench-'));
const site = new StartSite(dir, `tsb${randomBytes(2).toString('hex')}`);
const contestants: Contestant[] = [];
const notes: string[] = [];
try {
  contestants.push(await startOurs(site), startFloor(site));
  for (const name of ['crun', 'runc'] as const) {
    const peer = startRuntime(site, name);
    if (peer) contestants.push(peer);
    else notes.push(`${name} was not measured: install it (deploy/install/setup.sh --bench)`);
  }
  const perRound = Math.max(concurrency, Math.ceil(count / rounds));
  // In turn, so that a noisy machine is as noisy for all.
  for (let round = 0; round < rounds; round++)
    for (const contestant of contestants) await contestant.run(perRound, concurrency);
  printReport(concurrency === 1 ? 'start' : `start -c ${concurrency}`, metrics(), {
    json: values.json,
    notes,
  });
} finally {
  for (const contestant of contestants) await contestant.close();
  site.close();
  rmSync(dir, { recursive: true, force: true });
}

function metrics(): Metric[] {
  const by = (name: string) => contestants.find((contestant) => contestant.name === name);
  const figures: [string, string, (contestant: Contestant) => number][] =
    concurrency === 1
      ? [
          ['p50', 'ms', ({ samplesMs }) => quantile(samplesMs, 0.5)],
          ['p95', 'ms', ({ samplesMs }) => quantile(samplesMs, 0.95)],
        ]
      : [['throughput', '1/s', ({ samplesMs, elapsedMs }) => (samplesMs.length / elapsedMs) * 1000]];
  const floor = by('floor');
  return figures.flatMap(([figure, unit, of]) =>
    ['crun', 'runc'].map((peerName): Metric => {
      const peer = by(peerName);
      return {
        name: `${figure} beside ${peerName}`,
        unit,
        ours: of(by('tessera')!),
        peer: peer && of(peer),
        peerName,
        floor: floor && of(floor),
      };
    }),
  );
}
