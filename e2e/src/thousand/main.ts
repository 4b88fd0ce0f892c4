// npm run thousand [-- --runs 1000 --lanes 16]: docker run --rm through two managers in turn, each output and code
// checked, and that nothing is left of any of them on the hosts and in the store.
import { parseArgs } from 'node:util';
import { systemClock } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import type { LabCluster } from '../lab/cluster.js';
import { type CommandResult, run } from '../lab/command.js';
import { upWithTwoManagers } from '../lab/external-etcd.js';
import { growthSince, settledUsage } from '../lab/usage.js';

const TIMEOUT_MS = 120_000;
/** Enough to fill caches and pools of every host: what grows after these is left by the runs. */
const WARM_UP_RUNS = 48;
/** Far below the number of runs: one descriptor or process left by each would be seen. */
const DAEMONS_PLAY = 6;

const { values } = parseArgs({
  options: { runs: { type: 'string', default: '1000' }, lanes: { type: 'string', default: '16' } },
});
const runs = wholeNumber('runs', values.runs);
const lanes = wholeNumber('lanes', values.lanes);

const cluster = await upWithTwoManagers(`thousand${process.pid}`);
try {
  process.exitCode = await prove(cluster);
} catch (error) {
  console.error(`thousand: ${errorText(error)}`);
  process.exitCode = 1;
} finally {
  await cluster.lab.down();
}

async function prove(on: LabCluster): Promise<number> {
  const early = await runMany(on, WARM_UP_RUNS);
  await on.waitEmpty();
  const before = await settledUsage(on.lab);
  const startedMs = systemClock.monotonic();
  const wrong = [...early, ...(await runMany(on, runs))];
  const tookMs = systemClock.monotonic() - startedMs;
  console.log(
    `${runs} runs, ${lanes} at a time, through two managers: ${(tookMs / 1_000).toFixed(1)} s, ${((runs * 1_000) / tookMs).toFixed(1)} a second`,
  );
  for (const line of wrong) console.error(`  ${line}`);

  await on.waitEmpty();
  const left = await growthSince(on.lab, before, DAEMONS_PLAY);
  const listed = await Promise.all(
    on.lab.hosts.slice(0, 2).map(async (host) => {
      const { stdout } = await run(['docker', '-H', `unix://${host.socket}`, 'ps', '-aq', '--no-trunc']);
      return stdout
        .split('\n')
        .filter(Boolean)
        .map((id) => `${host.name} lists ${id}`);
    }),
  );
  left.push(...listed.flat());
  for (const line of left) console.error(`  left: ${line}`);
  console.log(`${wrong.length} wrong, ${left.length} left`);
  return wrong.length + left.length > 0 ? 1 : 0;
}

/** Gives what was not as it should be, a line for each. */
async function runMany(on: LabCluster, count: number): Promise<string[]> {
  const sockets = on.lab.hosts.slice(0, 2).map(({ socket }) => socket);
  const wrong: string[] = [];
  let next = 0;
  const lane = async () => {
    for (let index = next++; index < count; index = next++) {
      const socket = sockets[index % sockets.length]!;
      const words = ['run', '--rm', 'busybox', 'sh', '-c', 'echo x; exit 7'];
      const result = await run(['docker', '-H', `unix://${socket}`, ...words], { timeoutMs: TIMEOUT_MS });
      if (!isRight(result)) wrong.push(`run ${index + 1}: ${JSON.stringify(result)}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return wrong;
}

function isRight({ code, stdout, stderr }: CommandResult): boolean {
  return code === 7 && stdout === 'x\n' && stderr === '';
}

function wholeNumber(flag: string, text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  console.error(`thousand: --${flag} ${text}: give a whole number from 1 on`);
  process.exit(2);
}
