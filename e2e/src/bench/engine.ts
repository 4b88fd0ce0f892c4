import { api } from '../lab/api.js';
import type { LabHost } from '../lab/host.js';
import { waitFor } from '../lab/wait.js';

/**
 * Three hosts run by one orchestrator, ours or a peer's. Both speak the Docker API, so both are asked the very
 * same questions by the very same code.
 */
export interface Engine {
  readonly name: string;
  readonly hosts: readonly LabHost[];
  /** API socket of the manager. */
  readonly socket: string;
  /** Processes of the daemons, by a pattern pgrep -f takes. */
  readonly daemons: Readonly<Record<string, string>>;
  /** Switches a killed host on again, its daemon included. */
  restart(host: LabHost): Promise<void>;
  down(): Promise<void>;
}

interface ApiTask {
  readonly NodeID?: string;
  readonly Status: { readonly State: string };
}

const POLL_MS = 20;

export async function createService(engine: Engine, name: string, replicas: number): Promise<void> {
  await api(engine.socket, 'POST', '/v1.41/services/create', {
    Name: name,
    TaskTemplate: {
      // As first process `sleep` ignores SIGTERM; SIGKILL keeps the grace time out of the figures.
      ContainerSpec: { Image: 'busybox:latest', Args: ['sleep', '36000'], StopSignal: 'SIGKILL' },
    },
    Mode: { Replicated: { Replicas: replicas } },
    EndpointSpec: { Mode: 'dnsrr' },
  });
}

export async function removeService(engine: Engine, name: string): Promise<void> {
  await api(engine.socket, 'DELETE', `/v1.41/services/${name}`);
}

const filter = (value: object) => encodeURIComponent(JSON.stringify(value));

/** Number of running tasks, as the manager counts them. */
export async function runningCount(engine: Engine, name: string): Promise<number> {
  const services = await api<{ ServiceStatus?: { RunningTasks: number } }[]>(
    engine.socket,
    'GET',
    `/v1.41/services?status=true&filters=${filter({ name: [name] })}`,
  );
  return services[0]?.ServiceStatus?.RunningTasks ?? 0;
}

export const waitRunning = (engine: Engine, name: string, count: number) =>
  waitFor(
    `${count} tasks of ${name} on ${engine.name}`,
    async () => (await runningCount(engine, name)) === count,
    { timeoutMs: 300_000, intervalMs: POLL_MS },
  );

/** Tasks observed running on nodes other than `nodeId`. */
export async function runningElsewhere(engine: Engine, name: string, nodeId: string): Promise<number> {
  const tasks = await api<ApiTask[]>(
    engine.socket,
    'GET',
    `/v1.41/tasks?filters=${filter({ service: [name], 'desired-state': ['running'] })}`,
  );
  return tasks.filter((task) => task.Status.State === 'running' && task.NodeID !== nodeId).length;
}

export async function nodeIdOf(engine: Engine, host: LabHost): Promise<string> {
  const nodes = await api<{ ID: string; Description: { Hostname: string } }[]>(
    engine.socket,
    'GET',
    '/v1.41/nodes',
  );
  return nodes.find((node) => node.Description.Hostname === host.name)!.ID;
}

export const waitNodeReady = (engine: Engine, nodeId: string) =>
  waitFor(
    `the node on ${engine.name}`,
    async () =>
      (await api<{ Status: { State: string } }>(engine.socket, 'GET', `/v1.41/nodes/${nodeId}`)).Status
        .State === 'ready',
    { timeoutMs: 120_000 },
  );

/** Until no host has a container of anybody's. */
export const waitGone = (engine: Engine, containerPattern: string) =>
  waitFor(
    `the containers on ${engine.name} to be gone`,
    async () => {
      for (const host of engine.hosts) {
        if ((await host.exec(['pgrep', '-f', containerPattern])).code === 0) return false;
      }
      return true;
    },
    { timeoutMs: 300_000 },
  );

/** Both engines idle: neither pays for what the other still clears up behind an answer it has given. */
export async function quiet(...engines: (Engine | undefined)[]): Promise<void> {
  const hosts = engines.flatMap((engine) => engine?.hosts ?? []);
  let before = await cpuTicks(hosts);
  await waitFor(
    'the engines to be idle',
    async () => {
      const now = await cpuTicks(hosts);
      const used = now - before;
      before = now;
      return used < IDLE_TICKS;
    },
    { timeoutMs: 120_000, intervalMs: 1_000 },
  );
}
/** Of 100 ticks a second: daemons that watch over a few containers use less. */
const IDLE_TICKS = 15;

/** CPU time of all processes of the hosts and of their children that have ended, in ticks. Source: proc(5). */
async function cpuTicks(hosts: readonly LabHost[]): Promise<number> {
  let ticks = 0;
  for (const host of hosts) {
    const { stdout } = await host.exec(['sh', '-c', 'cat /proc/[0-9]*/stat 2>/dev/null']);
    for (const line of stdout.split('\n')) {
      const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
      for (const field of fields.slice(11, 15)) ticks += Number(field) || 0;
    }
  }
  return ticks;
}

export const CONTAINER_PATTERN = 'sleep 36000';
