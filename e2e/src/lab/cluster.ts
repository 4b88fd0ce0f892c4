import { readFileSync } from 'node:fs';
import { api, apiRequest } from './api.js';
import type { LabHost } from './host.js';
import { makeLabImage } from './images.js';
import type { Lab } from './lab.js';
import { waitFor } from './wait.js';

/** A task as `GET /tasks` gives it; the fields the scenarios look at. */
export interface ApiTask {
  readonly ID: string;
  readonly ServiceID: string;
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly DesiredState: string;
  readonly Status: {
    readonly State: string;
    readonly Message?: string;
    readonly Err?: string;
    readonly Timestamp?: string;
    readonly ContainerStatus?: {
      readonly ContainerID: string;
      readonly PID: number;
      readonly ExitCode: number;
    };
  };
  readonly NetworksAttachments?: readonly { readonly Addresses: readonly string[] }[];
}

export interface ApiNode {
  readonly ID: string;
  readonly Description: { readonly Hostname: string };
  readonly Status: { readonly State: string };
}

interface ApiService {
  readonly ID: string;
  readonly Version: { readonly Index: number };
  readonly Spec: Record<string, unknown> & { readonly Name: string };
}

export interface ServiceOptions {
  readonly name: string;
  readonly replicas?: number;
  readonly args?: readonly string[];
  readonly image?: string;
  readonly networks?: readonly string[];
  readonly constraints?: readonly string[];
  readonly reservations?: { readonly NanoCPUs?: number; readonly MemoryBytes?: number };
  readonly limits?: { readonly NanoCPUs?: number; readonly MemoryBytes?: number; readonly Pids?: number };
  readonly restart?: {
    readonly Condition?: 'none' | 'on-failure' | 'any';
    readonly Delay?: number;
    readonly MaxAttempts?: number;
  };
  readonly stopGraceMs?: number;
}

const NS_PER_MS = 1e6;

/** The cluster on a lab, driven through the API of its manager as any Docker client would. */
export class LabCluster {
  constructor(readonly lab: Lab) {}

  /** A cluster of all the lab's hosts, with the busybox image loaded. */
  static async form(lab: Lab): Promise<LabCluster> {
    await lab.formCluster();
    return LabCluster.adopt(lab);
  }

  /** The same, of hosts that have become a cluster already. */
  static async adopt(lab: Lab): Promise<LabCluster> {
    const cluster = new LabCluster(lab);
    await cluster.waitReady();
    await cluster.load(await makeLabImage(`${lab.dir}/busybox.tar`));
    return cluster;
  }

  get manager(): LabHost {
    return this.lab.hosts[0]!;
  }

  get<T>(path: string): Promise<T> {
    return api<T>(this.manager.socket, 'GET', path);
  }

  post<T>(path: string, body?: unknown): Promise<T> {
    return api<T>(this.manager.socket, 'POST', path, body);
  }

  nodes(): Promise<ApiNode[]> {
    return this.get('/nodes');
  }

  async nodeId(host: LabHost): Promise<string> {
    const node = (await this.nodes()).find((candidate) => candidate.Description.Hostname === host.name);
    if (!node) throw new Error(`${host.name} is no node of the cluster`);
    return node.ID;
  }

  async waitNode(host: LabHost, state: 'ready' | 'down'): Promise<void> {
    await waitFor(`${host.name} to be ${state}`, async () =>
      (await this.nodes()).some(
        (node) => node.Description.Hostname === host.name && node.Status.State === state,
      ),
    );
  }

  async waitReady(): Promise<void> {
    for (const host of this.lab.hosts) await this.waitNode(host, 'ready');
  }

  /** Loads an archive; gives what the API streamed. */
  async load(path: string): Promise<string> {
    const reply = await apiRequest(this.manager.socket, 'POST', '/images/load', readFileSync(path));
    return reply.body.toString();
  }

  async createService(options: ServiceOptions): Promise<string> {
    const { ID } = await this.post<{ ID: string }>('/services/create', serviceSpec(options));
    return ID;
  }

  async scale(name: string, replicas: number): Promise<void> {
    const service = await this.get<ApiService>(`/services/${name}`);
    await this.post(`/services/${service.ID}/update?version=${service.Version.Index}`, {
      ...service.Spec,
      Mode: { Replicated: { Replicas: replicas } },
    });
  }

  async removeService(name: string): Promise<void> {
    await api(this.manager.socket, 'DELETE', `/services/${name}`);
  }

  async createNetwork(name: string): Promise<string> {
    const { Id } = await this.post<{ Id: string }>('/networks/create', { Name: name, Driver: 'overlay' });
    return Id;
  }

  /** All tasks of a service that the cluster still knows, of any state. */
  tasks(service: string): Promise<ApiTask[]> {
    return this.get(`/tasks?filters=${encodeURIComponent(JSON.stringify({ service: [service] }))}`);
  }

  /** Tasks observed running that are meant to. */
  async running(service: string): Promise<ApiTask[]> {
    return (await this.tasks(service)).filter(
      (task) => task.Status.State === 'running' && task.DesiredState === 'running',
    );
  }

  async waitRunning(service: string, count: number, timeoutMs = 60_000): Promise<ApiTask[]> {
    let last: ApiTask[] = [];
    try {
      return await waitFor(
        `${count} tasks of ${service} to run`,
        async () => {
          last = await this.tasks(service);
          const running = last.filter(
            (task) => task.Status.State === 'running' && task.DesiredState === 'running',
          );
          return running.length === count && running;
        },
        { timeoutMs },
      );
    } catch (error) {
      const states = last.map(
        (task) => `${task.Slot}:${task.DesiredState}/${task.Status.State} ${task.Status.Err ?? ''}`,
      );
      throw new Error(`${(error as Error).message}; tasks are ${states.slice(0, 20).join(', ')}`, {
        cause: error,
      });
    }
  }

  /** Waits until no host has a container, and the store no task. */
  async waitEmpty(timeoutMs = 90_000): Promise<void> {
    let left: readonly string[] = [];
    try {
      await waitFor(
        'every container to be gone',
        async () => {
          left = (await Promise.all(this.lab.hosts.filter((host) => host.running).map(leftovers))).flat();
          const tasks = await this.get<ApiTask[]>('/tasks');
          return left.length === 0 && tasks.length === 0;
        },
        { timeoutMs, intervalMs: 200 },
      );
    } catch (error) {
      throw new Error(
        `${(error as Error).message}; left: ${left.slice(0, 8).join('; ') || 'tasks in the store'} (${left.length})`,
        {
          cause: error,
        },
      );
    }
  }
}

function serviceSpec(options: ServiceOptions): unknown {
  return {
    Name: options.name,
    TaskTemplate: {
      ContainerSpec: {
        Image: options.image ?? 'busybox',
        Args: options.args ?? ['sleep', '100000'],
        // Sleep as first process ignores SIGTERM, as any program does that sets no handler.
        StopGracePeriod: (options.stopGraceMs ?? 100) * NS_PER_MS,
      },
      Resources: {
        ...(options.limits ? { Limits: options.limits } : {}),
        ...(options.reservations ? { Reservations: options.reservations } : {}),
      },
      ...(options.restart ? { RestartPolicy: options.restart } : {}),
      ...(options.constraints ? { Placement: { Constraints: options.constraints } } : {}),
      ...(options.networks ? { Networks: options.networks.map((Target) => ({ Target })) } : {}),
    },
    Mode: { Replicated: { Replicas: options.replicas ?? 1 } },
  };
}

/** What a host has of containers: directories, cgroups, shims, links. Empty when all is gone. */
export async function leftovers(host: LabHost): Promise<string[]> {
  const { stdout } = await host.exec([
    'sh',
    '-c',
    `
    ls -d ${host.dataDir}/containers/*/ /run/tessera/containers/*/ 2>/dev/null
    ls -d /sys/fs/cgroup${host.cgroupParent}/containers/*/ /sys/fs/cgroup/*${host.cgroupParent}/containers/*/ 2>/dev/null
    pgrep -xl ts-shim
    grep ' overlay ' /proc/mounts
    true`,
  ]);
  return stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => `${host.name}: ${line}`);
}
