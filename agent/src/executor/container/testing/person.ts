import { newHexId, systemRandom } from '@tessera/shared/env';
import { Container, ContainerPlacement, type ContainerSpec, type HostConfig } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import type { AttachedClient, AttachOrder, TerminalSize } from '../../attachment.js';
import type { ExitStatus } from '../../executor.js';
import type { Exec, ExecRequest } from '../../live-container.js';
import type { ContainerExecutor } from '../container-executor.js';
import type { StandaloneContainer } from '../standalone-container.js';

// What tests of people's containers ask of one, in few words.

const { signal } = new AbortController();

export interface PersonOptions {
  readonly stdinOnce?: boolean;
  readonly host?: Partial<HostConfig>;
}

export function anAssignment(
  args: readonly string[],
  spec: Partial<ContainerSpec> = {},
  { stdinOnce = false, host = {} }: PersonOptions = {},
): ContainerAssignment {
  const container = Container.fromPartial({
    id: newHexId(systemRandom),
    spec: { image: 'busybox', args: [...args], stopGraceMs: -1, ...spec },
    host: { networkMode: 'none', resources: { memorySwappiness: -1 }, ...host },
    stdinOnce,
  } as never);
  const placement = ContainerPlacement.create({ containerId: container.id, nodeId: 'n' });
  return { container, placement, volumes: [] };
}

/** One container of a person's. */
export class PersonContainer {
  readonly live: StandaloneContainer;

  constructor(
    executor: ContainerExecutor,
    readonly asked: ContainerAssignment,
  ) {
    this.live = executor.container(asked.container!.id);
  }

  get id(): string {
    return this.live.id;
  }

  async create(): Promise<this> {
    await this.live.create(this.asked, signal);
    return this;
  }

  start(): Promise<void> {
    return this.live.start(this.asked, signal);
  }

  stop(timeoutMs = -1): Promise<void> {
    return this.live.stop({ signal: '', timeoutMs }, signal);
  }

  /** How the run under way ends, or the last one ended. */
  async exit(): Promise<ExitStatus> {
    await this.live.ended(signal);
    const { life } = this.live;
    if (life.kind !== 'exited') throw new Error(`it is ${life.kind}`);
    return life.exit;
  }

  get isRunning(): boolean {
    return this.live.life.kind === 'running';
  }

  get pid(): number {
    const { life } = this.live;
    return life.kind === 'running' || life.kind === 'paused' ? life.pid : 0;
  }

  /** Both streams, as they come from now on. */
  attach(
    options: Partial<Pick<AttachOrder, 'history' | 'wait' | 'patienceMs'>> = {},
  ): Promise<AttachedClient> {
    return this.live.attach({ stdout: true, stderr: true, history: false, ...options });
  }

  resize(size: TerminalSize): Promise<void> {
    return this.live.resize(size);
  }

  createExec(request: ExecRequest): Promise<Exec> {
    return this.live.createExec(request);
  }

  remove(): Promise<void> {
    return this.live.remove();
  }
}
