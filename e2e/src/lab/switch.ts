import { type ChildProcess, spawn } from 'node:child_process';
import { ended, must } from './command.js';

/**
 * The network between the hosts: a bridge in a namespace of its own.
 *
 * Hosts are 10.99.0.1, .2 … on it; the switch itself is 10.99.0.254, their default gateway, and stands for
 * the outside world. The namespace lives as long as the process that holds it, so nothing is left of it.
 */
export class Switch {
  static readonly GATEWAY = '10.99.0.254';
  static address = (index: number) => `10.99.0.${index}`;
  static macAddress = (index: number) => `02:00:0a:63:00:${index.toString(16).padStart(2, '0')}`;

  private constructor(private readonly holder: ChildProcess) {}

  static async up(): Promise<Switch> {
    const holder = spawn(
      'setpriv',
      ['--pdeathsig', 'KILL', 'unshare', '--net', 'sh', '-c', 'echo up; exec cat'],
      {
        stdio: ['pipe', 'pipe', 'inherit'],
      },
    );
    await new Promise<void>((resolve, reject) => {
      holder.stdout?.once('data', () => resolve());
      holder.once('error', reject);
      holder.once('exit', () => reject(new Error('the switch namespace could not be made')));
    });
    const wires = new Switch(holder);
    // No forwarding delay: a port passes frames as soon as it is up.
    await wires.#ip('link add br0 type bridge forward_delay 0');
    await wires.#ip('link set lo up');
    await wires.#ip(`addr add ${Switch.GATEWAY}/24 dev br0`);
    await wires.#ip('link set br0 up');
    return wires;
  }

  /** Joins a host's network namespace, given by a process in it, to the switch by a link named eth0. */
  async plug(index: number, pid: number): Promise<void> {
    const port = this.#port(index);
    // A host that died a moment ago may still hold the name; its namespace ends in its own time.
    await this.#ip(`link del ${port}`).catch(() => {});
    await this.#ip(`link add ${port} type veth peer name eth0 netns ${pid}`);
    await this.#ip(`link set ${port} master br0 up`);
    const inHost = ['nsenter', '-t', String(pid), '-n', 'ip'];
    await must([...inHost, 'addr', 'add', `${Switch.address(index)}/24`, 'dev', 'eth0']);
    // The same after a reboot, as a real card's: its neighbours would hold on to the old one for half a minute.
    await must([...inHost, 'link', 'set', 'eth0', 'address', Switch.macAddress(index), 'up']);
    await must([...inHost, 'route', 'add', 'default', 'via', Switch.GATEWAY]);
  }

  /** Pulls the host's cable, or puts it back. */
  async cut(index: number): Promise<void> {
    await this.#ip(`link set ${this.#port(index)} down`);
  }

  async heal(index: number): Promise<void> {
    await this.#ip(`link set ${this.#port(index)} up`);
  }

  /** Runs a command in the switch's namespace, as somebody outside the hosts. */
  exec(argv: readonly string[]): Promise<string> {
    return must(['nsenter', '-t', String(this.holder.pid), '-n', ...argv]);
  }

  get pid(): number {
    return this.holder.pid!;
  }

  async down(): Promise<void> {
    this.holder.kill('SIGKILL');
    await ended(this.holder);
  }

  #port = (index: number) => `host${index}`;

  async #ip(command: string): Promise<void> {
    await must(['nsenter', '-t', String(this.holder.pid), '-n', 'ip', ...command.split(' ')]);
  }
}
