import { ClusterError } from '@tessera/shared/errors';
import { api, apiRequest } from '../../lab/api.js';
import { waitFor } from '../../lab/wait.js';

/** A booted machine that is emulated, and has everything to start at once, takes its time. */
const PATIENCE = { timeoutMs: 900_000, intervalMs: 200 };
const SOCKET = '/run/tessera/tessera.sock';

export interface Inspected {
  readonly Id: string;
  readonly RestartCount: number;
  readonly State: {
    readonly Status: string;
    readonly Pid: number;
    readonly ExitCode: number;
    readonly StartedAt: string;
  };
}

export interface Wanted {
  readonly command: readonly string[];
  readonly policy?: string;
  readonly retries?: number;
  readonly autoRemove?: boolean;
  /** TCP port of the host that leads to port 80. */
  readonly port?: number;
}

/** The engine of this host, asked as a docker client asks. */
export const engine = {
  ask: <T>(method: string, path: string, body?: unknown): Promise<T> => api<T>(SOCKET, method, path, body),

  /** Waits until it answers and this node is ready for containers. */
  ready: (): Promise<true> =>
    waitFor(
      'a node that is ready',
      async () => {
        const nodes = await engine.ask<{ Status: { State: string } }[]>('GET', '/v1.43/nodes');
        return nodes.every(({ Status }) => Status.State === 'ready') && nodes.length === 1 ? true : undefined;
      },
      PATIENCE,
    ),

  async create(name: string, wanted: Wanted): Promise<void> {
    await engine.ask('POST', `/v1.43/containers/create?name=${name}`, {
      Image: 'busybox',
      Cmd: wanted.command,
      HostConfig: {
        RestartPolicy: { Name: wanted.policy ?? 'no', MaximumRetryCount: wanted.retries ?? 0 },
        AutoRemove: wanted.autoRemove ?? false,
        ...(wanted.port ? { PortBindings: { '80/tcp': [{ HostPort: String(wanted.port) }] } } : {}),
      },
    });
  },

  async run(name: string, wanted: Wanted): Promise<void> {
    await engine.create(name, wanted);
    await engine.verb(name, 'start');
  },

  verb: (name: string, verb: string): Promise<void> =>
    engine.ask('POST', `/v1.43/containers/${name}/${verb}`),

  /** Undefined when there is none of that name. */
  async inspect(name: string): Promise<Inspected | undefined> {
    const { status, body } = await apiRequest(SOCKET, 'GET', `/v1.43/containers/${name}/json`);
    return status === 200 ? (JSON.parse(body.toString()) as Inspected) : undefined;
  },

  /** Waits until a container is in that state. */
  becomes: (name: string, status: string): Promise<Inspected> =>
    waitFor(
      `container ${name} to be ${status}`,
      async () => {
        const seen = await engine.inspect(name);
        return seen?.State.Status === status ? seen : undefined;
      },
      PATIENCE,
    ),

  /** Waits until there is no container of that name. */
  vanishes: (name: string): Promise<true> =>
    waitFor(
      `container ${name} to be gone`,
      async () => ((await engine.inspect(name)) ? undefined : true),
      PATIENCE,
    ),

  /** What it has written to its standard output. An agent that is emulated may take its time until it serves anybody. */
  logs: (name: string): Promise<string> =>
    waitFor(
      `the logs of ${name}`,
      async () => {
        const path = `/v1.43/containers/${name}/logs?stdout=1`;
        const { status, body } = await apiRequest(SOCKET, 'GET', path);
        if (status !== 200) throw new ClusterError('unavailable', `${status} ${body}`);
        const pieces: string[] = [];
        for (let at = 0; at + 8 <= body.length; at += 8 + body.readUInt32BE(at + 4))
          pieces.push(body.toString('utf8', at + 8, at + 8 + body.readUInt32BE(at + 4)));
        return pieces.join('');
      },
      PATIENCE,
    ),

  patience: PATIENCE,
};
