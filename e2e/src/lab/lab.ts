import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { ClusterError, notFound } from '@tessera/shared/errors';
import { ended } from './command.js';
import { type Capacity, LabHost } from './host.js';
import { labCgroup, labDir, ROOT } from './paths.js';
import { sweepLab } from './sweep.js';
import { Switch } from './switch.js';

export interface LabOptions {
  /** Tells labs on one machine apart; everything a lab makes carries it. */
  readonly name: string;
  readonly hosts?: number;
  /** What each host claims to have, so that hosts on one machine have different sizes. */
  readonly capacity?: Capacity;
  readonly agentArgs?: readonly string[];
}

const CAPACITY: Capacity = { cpus: 1, memoryBytes: 2 ** 30 };

/**
 * Several hosts on this machine: namespaces joined by a switch, real agents, real containers.
 *
 * It belongs to this process. However this process ends, the hosts end with it, and a janitor of its own
 * session removes their cgroups and files.
 */
export class Lab {
  readonly hosts: LabHost[] = [];

  private constructor(
    readonly name: string,
    readonly dir: string,
    readonly wires: Switch,
    private readonly janitor: ChildProcess,
  ) {}

  /** Hosts that are on and empty: an agent each, and no cluster yet. */
  static async up(options: LabOptions): Promise<Lab> {
    if (!/^[a-z0-9][a-z0-9-]{0,30}$/.test(options.name)) {
      throw new ClusterError('invalidArgument', `lab name '${options.name}': use up to 31 of a-z, 0-9 and -`);
    }
    const dir = labDir(options.name);
    await sweepLab(options.name);
    if (existsSync(dir))
      throw new ClusterError(
        'alreadyExists',
        `a lab named ${options.name} is up: end it with npm run lab down`,
      );
    mkdirSync(dir, { mode: 0o711 });
    // The janitor first: from here on, whatever happens, somebody cleans up.
    const janitor = spawn(`${ROOT}e2e/lab/janitor.sh`, [dir, labCgroup(options.name)], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    writeFileSync(`${dir}/owner`, `${process.pid} ${janitor.pid}\n`);

    const lab = new Lab(options.name, dir, await Switch.up(), janitor);
    try {
      for (let index = 1; index <= (options.hosts ?? 3); index++) {
        lab.hosts.push(
          new LabHost({
            lab: options.name,
            index,
            wires: lab.wires,
            capacity: options.capacity ?? CAPACITY,
            agentArgs: options.agentArgs ?? [],
          }),
        );
      }
      await Promise.all(lab.hosts.map((host) => host.start()));
      return lab;
    } catch (error) {
      await lab.down();
      throw error;
    }
  }

  host(name: string): LabHost {
    const host = this.hosts.find((candidate) => candidate.name === name);
    if (!host) throw notFound('host', name);
    return host;
  }

  /** host1 becomes the manager, the others join it as workers, as a person would do it. */
  async formCluster(): Promise<void> {
    const [first, ...rest] = this.hosts as [LabHost, ...LabHost[]];
    await first.tsctl('cluster', 'init', '--advertise-addr', first.address);
    const token = (await first.tsctl('cluster', 'token', 'worker', '-q')).trim();
    await Promise.all(
      rest.map((host) => host.tsctl('cluster', 'join', '--token', token, `${first.address}:2377`)),
    );
  }

  /** Takes everything away and waits until it is gone. */
  async down(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.kill()));
    await this.wires.down();
    this.janitor.stdin?.end();
    await ended(this.janitor);
  }
}
