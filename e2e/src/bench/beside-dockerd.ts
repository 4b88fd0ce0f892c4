import { type Metric, median } from '@tessera/shared/bench';
import { LabCluster } from '../lab/cluster.js';
import { must } from '../lab/command.js';
import { makeLabImage } from '../lab/images.js';
import { Lab } from '../lab/lab.js';
import { startDockerHost } from './docker-host.js';

/** A cluster, ours first, and dockerd on a host of its own of the same kind where it is installed. */
export interface BesideDockerd {
  readonly lab: Lab;
  /** Of the APIs: ours, and dockerd's. Both have busybox. */
  readonly sockets: readonly string[];
  /**
   * Takes samples in turn, so that a noisy machine is as noisy for each.
   *
   * @param first what else is measured in each round
   * @returns those of each, as in `sockets`
   */
  sample(
    rounds: number,
    one: (socket: string) => Promise<number>,
    first?: () => Promise<void>,
  ): Promise<readonly number[][]>;
  /** A figure of each, as in `sockets`. */
  compared(name: string, unit: string, values: readonly number[]): Metric;
}

export const medians = (samples: readonly number[][]) => samples.map((each) => median(each));

/**
 * @param hosts how many the cluster has
 * @returns what the report is to say of the peer, when `work` is done and nothing of it is left
 */
export async function besideDockerd(
  name: string,
  work: (both: BesideDockerd) => Promise<void>,
  hosts = 1,
): Promise<readonly string[]> {
  const lab = await Lab.up({
    name: `${name}${process.pid}`,
    hosts,
    capacity: { cpus: 2, memoryBytes: 8 * 2 ** 30 },
  });
  let peer: Awaited<ReturnType<typeof startDockerHost>>;
  try {
    const cluster = await LabCluster.form(lab);
    peer = await startDockerHost(lab);
    if (peer) {
      const archive = await makeLabImage(`${lab.dir}/peer-busybox.tar`);
      await must(['docker', '-H', `unix://${peer.socket}`, 'load', '-q', '-i', archive]);
    }
    const sockets = [cluster.manager.socket, ...(peer ? [peer.socket] : [])];
    const peerName = peer && 'dockerd';
    await work({
      lab,
      sockets,
      sample: async (rounds, one, first) => {
        const samples = sockets.map((): number[] => []);
        for (let round = 0; round < rounds; round++) {
          await first?.();
          for (const [i, socket] of sockets.entries()) samples[i]!.push(await one(socket));
        }
        return samples;
      },
      compared: (what, unit, [ours, theirs]) => ({ name: what, unit, ours: ours!, peer: theirs, peerName }),
    });
  } finally {
    await peer?.down();
    await lab.down();
  }
  return peer ? [] : ['dockerd was not measured: install docker.io (deploy/install/setup.sh --bench)'];
}
