import { join } from 'node:path';
import { silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Task } from '@tessera/shared/model';
import { ContainerExecutor } from '../executor/container/index.js';
import type { ImageStore, LocalImage } from '../image/image-store.js';
import { NetworkManager } from '../network/index.js';
import type { Contestant } from './start-peers.js';
import type { StartSite } from './start-site.js';

/** An image that is here, without a store: its one layer is the site's root. */
export function benchImages(site: StartSite): ImageStore {
  const image: LocalImage = {
    id: 'sha256:bench',
    config: {
      entrypoint: [],
      cmd: [],
      env: [],
      workingDir: '',
      user: '',
      stopSignal: '',
      labels: {},
      volumes: [],
    },
    layers: [{ chainId: 'bench', path: site.lower, shortPath: site.lower }],
  };
  const used: Pick<ImageStore, 'ensure' | 'release'> = { ensure: async () => image, release: async () => {} };
  return used as ImageStore;
}

/** The agent's own executor and network part, on the site's bridge. */
export async function startOurs(site: StartSite): Promise<Contestant> {
  const network = await NetworkManager.open({
    nodeId: site.name,
    hostNetns: site.netns,
    fabricPath: join(site.dir, 'fabric'),
    natBridge: `${site.name}n`,
    dataPathAddr: '127.0.0.1',
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    // A server outside: containers then need no resolver of ours, as crun's have none.
    resolvers: { get: () => [{ host: '192.0.2.53', port: 53 }] },
  });
  const executor = await ContainerExecutor.open({
    dataDir: join(site.dir, 'data'),
    runDir: site.run,
    cgroupParent: `/${site.name}`,
    images: benchImages(site),
    network,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
  });
  await network.apply({ networks: [], endpoints: [], virtualServices: [] }, 1);

  const { signal } = new AbortController();
  let number = 0;
  const one = async () => {
    const controller = executor.controller(aTask(`bench-${number++}`));
    await controller.prepare(signal);
    await controller.start(signal);
    const { exitCode } = await controller.wait(signal);
    await controller.remove();
    if (exitCode !== 0) throw new Error(`a container ended with ${exitCode}`);
  };
  // A daemon has run before: its code is compiled.
  for (let i = 0; i < 200; i++) await one();
  const contestant: Contestant = {
    name: 'tessera',
    samplesMs: [],
    elapsedMs: 0,
    async run(count, concurrency) {
      let left = count;
      const lane = async () => {
        while (left-- > 0) {
          const beganMs = systemClock.monotonic();
          await one();
          contestant.samplesMs.push(systemClock.monotonic() - beganMs);
        }
      };
      const beganMs = systemClock.monotonic();
      await Promise.all(Array.from({ length: concurrency }, lane));
      // Deleting goes on behind the last removal; it counts.
      await executor.idle();
      contestant.elapsedMs += systemClock.monotonic() - beganMs;
    },
    async close() {
      await executor.cgroups.removeParent();
      await network.destroy();
    },
  };
  return contestant;
}

const aTask = (id: string): Task =>
  Task.fromPartial({
    id,
    spec: {
      container: { image: 'bench', args: ['/bin/true'], stopGraceMs: 10_000 },
      resources: { limits: { memoryBytes: 64 << 20, pids: 64 } },
    },
  } as unknown as Task);
