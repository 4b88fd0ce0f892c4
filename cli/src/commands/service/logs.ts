import type { NodeJson, ServiceJson, TaskJson } from '@tessera/shared/docker-api';
import type { Cli, Verb } from '../../cli.js';
import { ApiError, CliError } from '../../cli-error.js';
import { logFrames } from '../../client/log-frames.js';
import { parseSince } from '../../output/parse.js';
import { nodeLabel, shortId } from '../../output/words.js';

interface Flags {
  readonly follow: boolean;
  readonly tail: string;
  readonly since?: string;
  readonly until?: string;
  readonly timestamps: boolean;
  readonly details: boolean;
  readonly raw: boolean;
  readonly resolve: boolean;
  readonly taskIds: boolean;
  readonly trunc: boolean;
}

export const logs: Verb = (noun, cli) => {
  noun
    .command('logs')
    .description('Show what the tasks of a service, or one task, have written')
    .argument('<service|task>', 'name or id')
    .option('-f, --follow', 'go on with what they write', false)
    .option('-n, --tail <lines>', 'lines of each task from the end, or all', 'all')
    .option('--since <time>', 'only later ones: a time, or a duration before now such as 42m')
    .option('--until <time>', 'only earlier ones')
    .option('-t, --timestamps', 'show times', false)
    .option('--details', 'show node, service and task ids', false)
    .option('--raw', 'the lines alone, without the task before each', false)
    .option('--no-resolve', 'do not map ids to names')
    .option('--no-task-ids', 'do not show task ids')
    .option('--no-trunc', 'do not shorten ids')
    .action((name: string, flags: Flags) => show(cli, name, flags));
};

async function show(cli: Cli, name: string, flags: Flags): Promise<void> {
  const target = await findTarget(cli, name);
  const nowMs = cli.clock.now();
  const response = await cli.api.stream('GET', `${target.path}/logs`, {
    query: {
      stdout: true,
      stderr: true,
      follow: flags.follow,
      tail: flags.tail,
      timestamps: flags.timestamps,
      details: true,
      since: flags.since && parseSince('--since', flags.since, nowMs),
      until: flags.until && parseSince('--until', flags.until, nowMs),
    },
  });
  if (target.tty) {
    for await (const chunk of response as AsyncIterable<Buffer>) await cli.out.bytes(chunk, 'stdout');
    return;
  }
  const labels = new TaskLabels(cli, target.services, flags);
  for await (const { stream, content } of logFrames(response)) {
    const line = parseLine(content, flags.timestamps);
    const label = flags.raw ? '' : `${await labels.of(line.details)} | `;
    const details = flags.details ? `${line.raw} ` : '';
    const head = `${label}${line.time}${details}`;
    await cli.out.bytes(Buffer.concat([Buffer.from(head), line.text]), stream);
  }
}

interface Target {
  readonly path: string;
  readonly tty: boolean;
  readonly services: readonly ServiceJson[];
}

/** A service by name or id, else a task by id. */
async function findTarget(cli: Cli, name: string): Promise<Target> {
  const id = encodeURIComponent(name);
  try {
    const service = await cli.api.get<ServiceJson>(`/services/${id}`);
    const tty = service.Spec.TaskTemplate?.ContainerSpec?.TTY ?? false;
    return { path: `/services/${service.ID}`, tty, services: [service] };
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
  }
  try {
    const task = await cli.api.get<TaskJson>(`/tasks/${id}`);
    const tty = task.Spec.ContainerSpec?.TTY ?? false;
    return { path: `/tasks/${task.ID}`, tty, services: [] };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404)
      throw new CliError(`no such task or service: ${name}`);
    throw error;
  }
}

interface Line {
  /** With its space, or empty. */
  readonly time: string;
  readonly raw: string;
  readonly details: ReadonlyMap<string, string>;
  readonly text: Buffer;
}

/** Takes apart "[TIME ]KEY=VALUE,KEY=VALUE TEXT", as the server writes it when asked for details. */
function parseLine(content: Buffer, timestamps: boolean): Line {
  const timeEnd = timestamps ? content.indexOf(' ') + 1 : 0;
  const detailsEnd = content.indexOf(' ', timeEnd);
  const raw = content.toString('utf8', timeEnd, detailsEnd);
  const details = new Map(
    raw.split(',').map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at), decodeURIComponent(pair.slice(at + 1))];
    }),
  );
  return {
    time: content.toString('utf8', 0, timeEnd),
    raw,
    details,
    text: content.subarray(detailsEnd + 1),
  };
}

/** "web.1.3q2r5x7@host2    ": whose line it is, in a column as wide as the widest seen. */
class TaskLabels {
  readonly #known = new Map<string, string>();
  readonly #services: Map<string, string>;
  #width = 0;
  #nodes: Promise<Map<string, string>> | undefined;

  constructor(
    private readonly cli: Cli,
    services: readonly ServiceJson[],
    private readonly flags: Flags,
  ) {
    this.#services = new Map(services.map(({ ID, Spec }) => [ID, Spec.Name ?? ID]));
  }

  async of(details: ReadonlyMap<string, string>): Promise<string> {
    const id = details.get('com.docker.swarm.task.id') ?? '';
    let label = this.#known.get(id);
    if (label === undefined) {
      label = await this.#make(id, details.get('com.docker.swarm.node.id') ?? '');
      this.#known.set(id, label);
      this.#width = Math.max(this.#width, label.length);
    }
    return label.padEnd(this.#width + 1);
  }

  async #make(taskId: string, nodeId: string): Promise<string> {
    const shown = this.flags.trunc ? shortId(taskId) : taskId;
    const suffix = this.flags.taskIds ? `.${shown}` : '';
    if (!this.flags.resolve) return `${shown}@${nodeId}`;
    this.#nodes ??= this.cli.api
      .get<NodeJson[]>('/nodes')
      .then((nodes) => new Map(nodes.map((node) => [node.ID, nodeLabel(node)])));
    const [nodes, task] = await Promise.all([this.#nodes, this.#task(taskId)]);
    const service = task && (this.#services.get(task.ServiceID) ?? (await this.#serviceName(task.ServiceID)));
    const name = task ? `${service}.${task.Slot || nodeId}${suffix}` : shown;
    return `${name}@${nodes.get(nodeId) ?? nodeId}`;
  }

  /** Undefined once the task has been reaped: its lines are still worth showing. */
  async #task(id: string): Promise<TaskJson | undefined> {
    try {
      return await this.cli.api.get<TaskJson>(`/tasks/${id}`);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  async #serviceName(id: string): Promise<string> {
    try {
      const { Spec } = await this.cli.api.get<ServiceJson>(`/services/${id}`);
      this.#services.set(id, Spec.Name ?? id);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      this.#services.set(id, id);
    }
    return this.#services.get(id)!;
  }
}
