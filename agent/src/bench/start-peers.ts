import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { clear } from '@tessera/native';
import { systemClock } from '@tessera/shared/env';
import type { StartSite } from './start-site.js';

const NATIVE = fileURLToPath(new URL('../../../native/', import.meta.url));
const CGROUPS = '/sys/fs/cgroup';
const run = promisify(execFile);

/** Somebody who starts and removes containers. */
export interface Contestant {
  readonly name: string;
  /** Of each container. */
  readonly samplesMs: number[];
  /** Of all runs together. */
  elapsedMs: number;
  /** Starts and removes `count` containers, `concurrency` at once. */
  run(count: number, concurrency: number): Promise<void>;
  close(): Promise<void>;
}

/** Runs programs side by side, each of which prints its milliseconds line by line. */
async function sideBySide(contestant: Contestant, programs: readonly (readonly string[])[]): Promise<void> {
  const beganMs = systemClock.monotonic();
  const outputs = await Promise.all(
    programs.map(async ([program, ...args]) => (await run(program!, args, { maxBuffer: 1 << 24 })).stdout),
  );
  contestant.elapsedMs += systemClock.monotonic() - beganMs;
  contestant.samplesMs.push(...outputs.flatMap((output) => output.split('\n').filter(Boolean).map(Number)));
}

/** Only the kernel's part of it, by native/bench/floor.c. */
export function startFloor(site: StartSite): Contestant {
  buildBench();
  return {
    name: 'floor',
    samplesMs: [],
    elapsedMs: 0,
    async run(count, concurrency) {
      const each = String(Math.ceil(count / concurrency));
      await sideBySide(
        this,
        Array.from({ length: concurrency }, (_, index) => [
          ...inNamespace(site),
          ...[`${NATIVE}build/bench-floor`, site.lower, site.work, each, site.bridge, `${site.name}${index}`],
        ]),
      );
    },
    async close() {},
  };
}

/** crun or runc as its users run it, by native/bench/runtime.c; undefined when it is not installed. */
export function startRuntime(site: StartSite, name: 'crun' | 'runc'): Contestant | undefined {
  const path = ['/usr/bin', '/usr/sbin']
    .map((bin) => `${bin}/${name}`)
    .find((candidate) => existsSync(candidate));
  if (!path) return undefined;
  buildBench();
  const state = join(site.run, name);
  const lanes = new Set<string>();
  return {
    name,
    samplesMs: [],
    elapsedMs: 0,
    async run(count, concurrency) {
      const each = String(Math.ceil(count / concurrency));
      await sideBySide(
        this,
        Array.from({ length: concurrency }, (_, index) => {
          const lane = `${site.name}${name[0]}${index}`;
          lanes.add(lane);
          const bundle = makeBundle(site, path, lane);
          // crun 1.8 refuses the hybrid layout, so it gets a mount namespace in which the v2 tree is covered.
          const hide =
            'test ! -d /sys/fs/cgroup/unified || mount -t tmpfs none /sys/fs/cgroup/unified; exec "$@"';
          return [
            ...['unshare', '-m', 'sh', '-c', hide, '_', ...inNamespace(site)],
            ...[`${NATIVE}build/bench-runtime`, site.lower, site.work, each, site.bridge, lane],
            ...[
              path,
              '--root',
              state,
              ...(name === 'crun' ? ['--cgroup-manager=cgroupfs'] : []),
              'run',
              '-b',
              bundle,
            ],
          ];
        }),
      );
    },
    async close() {
      rmSync(state, { recursive: true, force: true });
      // Also in hierarchies that we leave alone, such as name=systemd.
      const tops = ['', ...readdirSync(CGROUPS).map((hierarchy) => `/${hierarchy}`)];
      const groups = [...lanes].flatMap((lane) => tops.map((top) => `${CGROUPS}${top}/${site.name}-${lane}`));
      await clear(groups, []);
    },
  };
}

/** What `runc spec` gives, with our command, limits as ours, and the namespace that runtime.c makes. */
function makeBundle(site: StartSite, path: string, lane: string): string {
  const bundle = join(site.work, lane);
  rmSync(bundle, { recursive: true, force: true });
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  writeFileSync(join(bundle, 'netns'), '');
  execFileSync(path, ['spec'], { cwd: bundle });
  const config = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8'));
  config.process.terminal = false;
  config.process.args = ['/bin/true'];
  config.root.readonly = false;
  config.linux.cgroupsPath = `/${site.name}-${lane}/x`;
  config.linux.resources = {
    ...config.linux.resources,
    memory: { limit: 64 << 20 },
    pids: { limit: 64 },
  };
  config.linux.namespaces = config.linux.namespaces.map((namespace: { type: string }) =>
    namespace.type === 'network' ? { type: 'network', path: join(bundle, 'netns') } : namespace,
  );
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(config));
  return bundle;
}

const inNamespace = (site: StartSite): string[] => ['nsenter', `--net=${site.netns}`];

const buildBench = () =>
  execFileSync('make', ['-s', '-C', NATIVE, 'bench'], { stdio: ['ignore', 'ignore', 'inherit'] });
