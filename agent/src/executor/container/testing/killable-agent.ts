import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type ContainerStatus, Task } from '@tessera/shared/model';
import type { Rig } from './rig.js';

const AGENT = fileURLToPath(new URL('./agent-process.ts', import.meta.url));

/** An agent that can be killed. */
export class AgentProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(rig: Rig) {
    const { dataDir, runDir, cgroupParent } = rig.options;
    const where = JSON.stringify({ dataDir, runDir, cgroupParent, layer: rig.layer });
    this.#child = spawn(process.execPath, ['--conditions=tessera-source', '--import', 'tsx', AGENT, where], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  async start(task: Task): Promise<ContainerStatus> {
    if ((await this.prepare(task)) === undefined) throw new Error('the agent has gone');
    return JSON.parse((await this.#lines.next()).value as string) as ContainerStatus;
  }

  /** Resolves between preparing and starting, which goes on. */
  async prepare(task: Task): Promise<string | undefined> {
    await this.#lines.next(); // ready
    this.#child.stdin!.write(`${JSON.stringify(Task.toJSON(task))}\n`);
    return (await this.#lines.next()).value as string | undefined;
  }

  /** A line to the agent, and its answer. */
  async tell(line: string): Promise<string> {
    this.#child.stdin!.write(`${line}\n`);
    return (await this.#lines.next()).value as string;
  }

  async kill(): Promise<void> {
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}
