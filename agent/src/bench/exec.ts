// npm run bench -- exec [--count 200] [-c 1] [--json]
import { execFile, execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { clear } from '@tessera/native';
import { type Metric, printReport, quantile } from '@tessera/shared/bench';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Task } from '@tessera/shared/model';
import { ContainerExecutor } from '../executor/container/index.js';
import { benchImages } from './start-ours.js';
import { StartSite } from './start-site.js';

// One exec of `true` in a container that runs, with its output attached, from the request to its exit code. Ours by
// the agent's executor; crun's and runc's as a command, which is how their users have it.

const NATIVE = fileURLToPath(new URL('../../../native/', import.meta.url));
const CGROUPS = '/sys/fs/cgroup';
const run = promisify(execFile);
const { signal } = new AbortController();

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

interface Contestant {
  readonly name: string;
  readonly samplesMs: number[];
  run(count: number): Promise<void>;
  close(): Promise<void>;
}

async function ours(site: StartSite): Promise<Contestant> {
  const executor = await ContainerExecutor.open({
    dataDir: join(site.dir, 'data'),
    runDir: site.run,
    cgroupParent: `/${site.name}`,
    images: benchImages(site),
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
  const task = Task.fromPartial({
    id: 'bench',
    spec: { container: { image: 'bench', args: ['/bin/sleep', '100000'] } },
  } as never);
  const controller = executor.controller(task);
  await controller.prepare(signal);
  await controller.start(signal);
  const container = executor.live(controller.status()!.containerId)!;
  const one = async () => {
    const exec = await container.createExec({
      args: ['/bin/true'],
      env: [],
      user: '',
      workingDir: '',
      privileged: false,
      tty: false,
      stdin: false,
    });
    const client = await exec.start({ stdout: true, stderr: true });
    for await (const { bytes } of client!) throw new Error(`true says ${bytes.length} bytes`);
    const exitCode = await exec.wait(signal);
    if (exitCode !== 0) throw new Error(`an exec ended with ${exitCode}`);
  };
  // A daemon has run before: its code is compiled.
  for (let i = 0; i < 200; i++) await one();
  const samplesMs: number[] = [];
  return {
    name: 'tessera',
    samplesMs,
    async run(each) {
      let left = each;
      const lane = async () => {
        while (left-- > 0) {
          const beganMs = systemClock.monotonic();
          await one();
          samplesMs.push(systemClock.monotonic() - beganMs);
        }
      };
      await Promise.all(Array.from({ length: concurrency }, lane));
    },
    async close() {
      await controller.remove();
      await executor.idle();
      await executor.cgroups.removeParent();
    },
  };
}

/** crun or runc; undefined when it is not installed. */
function peer(site: StartSite, name: 'crun' | 'runc'): Contestant | undefined {
  const path = ['/usr/bin', '/usr/sbin'].map((bin) => `${bin}/${name}`).find((each) => existsSync(each));
  if (!path) return undefined;
  const id = `${site.name}-${name}`;
  const state = join(site.run, name);
  const bundle = makeBundle(site, path, id);
  const runtime = [path, '--root', state, ...(name === 'crun' ? ['--cgroup-manager=cgroupfs'] : [])];
  // crun 1.8 refuses the hybrid layout, so it gets a mount namespace in which the v2 tree is covered.
  const script = [
    'test ! -d /sys/fs/cgroup/unified || mount -t tmpfs none /sys/fs/cgroup/unified || exit',
    'runtime=$1 bundle=$2 id=$3 each=$4 lanes=$5 bench=$6 failed=0',
    '$runtime run -d -b $bundle $id </dev/null >/dev/null || exit',
    'for lane in $(seq $lanes); do $bench $each $runtime exec $id /bin/true & all="$all $!"; done',
    'for lane in $all; do wait $lane || failed=1; done',
    '$runtime delete -f $id; exit $failed',
  ].join('\n');
  const samplesMs: number[] = [];
  return {
    name,
    samplesMs,
    async run(total) {
      const each = String(Math.ceil(total / concurrency));
      const { stdout } = await run('unshare', [
        ...['-m', 'sh', '-c', script, '_'],
        ...[runtime.join(' '), bundle, id, each, String(concurrency), `${NATIVE}build/bench-exec`],
      ]);
      samplesMs.push(...stdout.split('\n').filter(Boolean).map(Number));
    },
    async close() {
      rmSync(state, { recursive: true, force: true });
      // Also in hierarchies that we leave alone, such as name=systemd.
      const tops = ['', ...readdirSync(CGROUPS).map((hierarchy) => `/${hierarchy}`)];
      await clear(
        tops.map((top) => `${CGROUPS}${top}/${id}`),
        [],
      );
    },
  };
}

function makeBundle(site: StartSite, path: string, id: string): string {
  const bundle = join(site.work, id);
  mkdirSync(bundle, { recursive: true });
  execFileSync(path, ['spec'], { cwd: bundle });
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
  config.process.terminal = false;
  config.process.args = ['/bin/sleep', '100000'];
  config.root = { path: site.lower, readonly: true };
  config.linux.cgroupsPath = `/${id}/x`;
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  return bundle;
}

const dir = mkdtempSync(join(tmpdir(), 'ts-bench-'));
const site = new StartSite(dir, `tsx${randomBytes(2).toString('hex')}`);
const contestants: Contestant[] = [];
const notes: string[] = [];
try {
  execFileSync('make', ['-s', '-C', NATIVE, 'bench'], { stdio: ['ignore', 'ignore', 'inherit'] });
  contestants.push(await ours(site));
  for (const name of ['crun', 'runc'] as const) {
    const contestant = peer(site, name);
    if (contestant) contestants.push(contestant);
    else notes.push(`${name} was not measured: install it (deploy/install/setup.sh --bench)`);
  }
  // In turn, so that a noisy machine is as noisy for all.
  for (let round = 0; round < rounds; round++)
    for (const contestant of contestants) await contestant.run(Math.ceil(count / rounds));
  printReport(concurrency === 1 ? 'exec' : `exec -c ${concurrency}`, metrics(), { json: values.json, notes });
} finally {
  for (const contestant of contestants) await contestant.close();
  site.close();
  rmSync(dir, { recursive: true, force: true });
}

function metrics(): Metric[] {
  const samples = (name: string) => contestants.find((each) => each.name === name)?.samplesMs;
  return (['p50', 'p95'] as const).flatMap((figure) =>
    ['crun', 'runc'].map((peerName): Metric => {
      const share = figure === 'p50' ? 0.5 : 0.95;
      const peerSamples = samples(peerName);
      return {
        name: `${figure} beside ${peerName}`,
        unit: 'ms',
        ours: quantile(samples('tessera')!, share),
        peer: peerSamples && quantile(peerSamples, share),
        peerName,
      };
    }),
  );
}
