import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { apiRequest } from './api.js';
import { type CommandOptions, type CommandResult, ended, hasEnded, must, run } from './command.js';
import { hostEnvironment } from './host-environment.js';
import { labCgroup, labDir, ROOT, TSCTL, TSD } from './paths.js';
import { Switch } from './switch.js';
import { waitFor } from './wait.js';

export interface Capacity {
  readonly cpus: number;
  readonly memoryBytes: number;
}

/**
 * One host of a lab: namespaces of its own for network, mounts, processes, host name and IPC, and its own data.
 *
 * What is meant to survive a power cut lies in `dataDir`; `runDir` is empty after each start, as /run is.
 */
export class LabHost {
  readonly name: string;
  readonly address: string;
  readonly dir: string;
  readonly dataDir: string;
  readonly runDir: string;
  /** Path of the API's socket as seen from outside the host. */
  readonly socket: string;
  #init: ChildProcess | undefined;
  #agent: ChildProcess | undefined;

  constructor(
    private readonly options: {
      readonly lab: string;
      readonly index: number;
      readonly wires: Switch;
      readonly capacity: Capacity;
      readonly agentArgs: readonly string[];
    },
  ) {
    this.name = `host${options.index}`;
    this.address = Switch.address(options.index);
    this.dir = `${labDir(options.lab)}/${this.name}`;
    this.dataDir = `${this.dir}/data`;
    this.runDir = `${this.dir}/run`;
    this.socket = `${this.runDir}/tessera.sock`;
  }

  get running(): boolean {
    return this.#init !== undefined && !hasEnded(this.#init);
  }

  get agentRunning(): boolean {
    return this.#agent !== undefined && !hasEnded(this.#agent);
  }

  get cgroupParent(): string {
    return `/${labCgroup(this.options.lab)}/${this.name}`;
  }

  /** Pid of the host's first process, seen from outside. Entering its namespaces is entering the host. */
  get pid(): number {
    const unsharePid = this.#init?.pid;
    // unshare forks: the process in the new pid namespace is its only child.
    const child = readFileSync(`/proc/${unsharePid}/task/${unsharePid}/children`, 'utf8').trim();
    return Number(child);
  }

  /** Switches the host on: namespaces, cable, agent. */
  async start(): Promise<void> {
    await this.powerOn();
    await this.startAgent();
  }

  /** Namespaces and cable alone. */
  async powerOn(): Promise<void> {
    rmSync(this.runDir, { recursive: true, force: true });
    mkdirSync(this.runDir, { recursive: true, mode: 0o755 });
    mkdirSync(this.dataDir, { recursive: true, mode: 0o700 });
    const ready = `${this.dir}/ready`;
    rmSync(ready, { force: true });
    const console = openSync(`${this.dir}/console.log`, 'a');
    // Should the lab's process die, the host dies with it: unshare by its parent's death, pid 1 by unshare's.
    this.#init = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'KILL',
        'unshare',
        '--net',
        '--mount',
        '--pid',
        '--uts',
        '--ipc',
        '--fork',
        '--kill-child',
        `${ROOT}e2e/lab/host-init.sh`,
        this.name,
        this.runDir,
        ready,
      ],
      { stdio: ['ignore', console, console] },
    );
    closeSync(console);
    await waitFor(
      `${this.name} to come up`,
      () => {
        if (!this.running) throw new Error(readFileSync(`${this.dir}/console.log`, 'utf8'));
        return existsSync(ready);
      },
      { intervalMs: 10 },
    );
    await this.options.wires.plug(this.options.index, this.pid);
  }

  /** Starts tsd and waits until it answers on the API's socket. */
  async startAgent(): Promise<void> {
    const log = openSync(`${this.dir}/tsd.log`, 'a');
    const { cpus, memoryBytes } = this.options.capacity;
    this.#agent = spawn(
      'nsenter',
      this.#enter([
        // Leader of its session, as a service manager starts it: CPUs are shared out between sessions.
        'setsid',
        process.execPath,
        TSD,
        '--data-dir',
        this.dataDir,
        '--run-dir',
        '/run/tessera',
        '--hostname',
        this.name,
        '--advertise-addr',
        this.address,
        '--listen-addr',
        '0.0.0.0:2377',
        '--cgroup-parent',
        this.cgroupParent,
        '--capacity',
        `cpus=${cpus},memory=${memoryBytes}`,
        '--log-level',
        process.env.LAB_LOG_LEVEL ?? 'info',
        ...this.options.agentArgs,
      ]),
      { stdio: ['ignore', log, log], env: hostEnvironment() },
    );
    closeSync(log);
    const agent = this.#agent;
    await waitFor(`tsd on ${this.name}`, () => {
      if (hasEnded(agent)) throw new Error(`tsd ended with code ${agent.exitCode}: see ${this.dir}/tsd.log`);
      return this.ping();
    });
  }

  /** Whether something answers on the API's socket. */
  ping(): Promise<boolean> {
    return apiRequest(this.socket, 'GET', '/_ping', undefined, { timeoutMs: 5_000 }).then(
      ({ status }) => status === 200,
      () => false,
    );
  }

  /** kill -9 of tsd alone: containers and manager live on. */
  async killAgent(): Promise<void> {
    if (!this.#agent) return;
    // The child here is nsenter, which waits for the real one; both go.
    const { stdout } = await run(['pgrep', '-P', String(this.#agent.pid)]);
    for (const pid of stdout.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
    await ended(this.#agent);
    this.#agent = undefined;
  }

  /** Asks tsd to end as systemd would. */
  async stopAgent(): Promise<void> {
    if (!this.#agent) return;
    const { stdout } = await run(['pgrep', '-P', String(this.#agent.pid)]);
    for (const pid of stdout.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGTERM');
    await ended(this.#agent);
    this.#agent = undefined;
  }

  /** A power cut: every process of the host, its mounts and links, at once. Its data stays. */
  async kill(): Promise<void> {
    if (!this.#init) return;
    // The cable first: a host without power closes no connection.
    await this.cut().catch(() => {});
    this.#init.kill('SIGKILL');
    await ended(this.#init);
    if (this.#agent) await ended(this.#agent);
    this.#init = undefined;
    this.#agent = undefined;
  }

  cut = (): Promise<void> => this.options.wires.cut(this.options.index);
  heal = (): Promise<void> => this.options.wires.heal(this.options.index);

  /** Runs a command inside the host, as somebody logged in there would. */
  exec(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return run(this.enterCommand(argv), { env: hostEnvironment(), ...options });
  }

  /** The same, failing when the command fails. */
  must(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return must(this.enterCommand(argv), { env: hostEnvironment(), ...options });
  }

  tsctl(...args: string[]): Promise<string> {
    return this.must([process.execPath, TSCTL, ...args]);
  }

  /** What nsenter runs a command in this host by. */
  enterCommand = (argv: readonly string[]): string[] => ['nsenter', ...this.#enter(argv)];

  #enter = (argv: readonly string[]): string[] => [
    '-t',
    String(this.pid),
    '-n',
    '-m',
    '-p',
    '-u',
    '-i',
    '--',
    ...argv,
  ];
}
