import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { changeNetwork, createNetns, inNetns, type Netns, removeNetns } from '@tessera/native';
import type { Outside } from '../network/dns/forwarder.js';
import { NetnsOutside } from '../network/dns/netns-outside.js';

const run = promisify(execFile);

/** A host: a network namespace with eth0 on the lab's switch. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** The namespace as a path. */
  readonly netns: string;
  readonly fd: Netns;
  /** Where its fabric may be bound. */
  readonly fabricPath: string;
}

/** A process in a network namespace of its own, standing for a container. */
export interface LabContainer {
  readonly pid: number;
  readonly netns: string;
  end(): Promise<void>;
}

const PREFIX = 'tessera-netlab-';

/**
 * Hosts as network namespaces joined by a switch, without agents: for tests and benches of the network part.
 * Everything hangs on one temporary directory; what a killed run left is removed by the next.
 */
export class OverlayLab {
  readonly hosts: readonly LabHost[];
  readonly #directory: string;
  readonly #descriptors: number[] = [];
  readonly #containers = new Set<LabContainer>();
  readonly #names: string[] = [];
  readonly #outsides: NetnsOutside[] = [];

  constructor(hostCount: number) {
    removeStale();
    this.#directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
    const switchFd = this.#create('switch');
    changeNetwork(
      inNetns(switchFd, [
        { kind: 'link', name: 'lo', up: true },
        { kind: 'bridge', name: 'br0' },
        // Bridged frames would otherwise pass a new namespace's iptables.
        { kind: 'sysctl', path: 'bridge/bridge-nf-call-iptables', value: '0', tolerant: true },
        { kind: 'address', name: 'br0', address: '10.99.0.254', prefix: 24 },
      ]),
    );
    this.hosts = Array.from({ length: hostCount }, (_, index) => this.#addHost(index + 1, switchFd));
  }

  /** The switch's namespace, for whatever stands for the outside: it has 10.99.0.254. */
  get outside(): string {
    return join(this.#directory, 'switch');
  }

  async container(): Promise<LabContainer> {
    const child = spawn('unshare', ['--net', 'sleep', '1d'], { stdio: 'ignore' });
    const netns = `/proc/${child.pid}/ns/net`;
    const own = readlinkSync('/proc/self/ns/net');
    for (;;) {
      if (child.exitCode !== null) throw new Error('unshare ended at once');
      if (existsSync(netns) && readlinkSync(netns) !== own) break;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const container: LabContainer = {
      pid: child.pid as number,
      netns,
      end: async () => {
        this.#containers.delete(container);
        await endOf(child);
      },
    };
    this.#containers.add(container);
    return container;
  }

  /** Runs a program in a namespace. Rejects when it fails; the error has `stdout` and `stderr`. */
  async exec(netns: string, command: string, ...args: string[]): Promise<string> {
    const { stdout } = await run('nsenter', [`--net=${netns}`, command, ...args], { timeout: 60_000 });
    return stdout;
  }

  /** Starts a program in a namespace; the caller ends it by its `kill`. */
  spawn(netns: string, command: string, ...args: string[]): ChildProcess {
    return spawn('nsenter', [`--net=${netns}`, command, ...args], { stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Sockets of a host's namespace, for its forwarder. */
  outsideOf(host: LabHost): Outside {
    const outside = new NetnsOutside(host.netns);
    this.#outsides.push(outside);
    return outside;
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#containers, (container) => container.end()));
    for (const outside of this.#outsides) outside.close();
    for (const fd of this.#descriptors) closeSync(fd);
    for (const name of [...this.#names, ...this.hosts.map(({ name }) => `${name}-fabric`)])
      removeNetns(join(this.#directory, name));
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #addHost(number: number, switchFd: Netns): LabHost {
    const name = `host${number}`;
    const fd = this.#create(name);
    const address = `10.99.0.${number}`;
    changeNetwork([
      ...inNetns(switchFd, [{ kind: 'veth', name, master: 'br0', peer: { name: 'eth0', netns: fd } }]),
      ...inNetns(fd, [
        { kind: 'link', name: 'lo', up: true },
        { kind: 'address', name: 'eth0', address, prefix: 24 },
        { kind: 'link', name: 'eth0', up: true },
        { kind: 'route', destination: '0.0.0.0', prefix: 0, via: '10.99.0.254' },
      ]),
    ]);
    const netns = join(this.#directory, name);
    return { name, address, netns, fd, fabricPath: join(this.#directory, `${name}-fabric`) };
  }

  #create(name: string): Netns {
    const fd = createNetns(join(this.#directory, name));
    this.#descriptors.push(fd);
    this.#names.push(name);
    return fd;
  }
}

function endOf(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

/** Directories of runs whose process is gone. */
function removeStale(): void {
  for (const name of readdirSync(tmpdir())) {
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    const directory = join(tmpdir(), name);
    for (const file of readdirSync(directory)) removeNetns(join(directory, file));
    rmSync(directory, { recursive: true, force: true });
  }
}
