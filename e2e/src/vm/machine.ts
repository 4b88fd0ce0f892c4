import { spawn } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { processIdentity } from '@tessera/shared/process';
import { must } from '../lab/command.js';
import { ROOT } from '../lab/paths.js';
import type { VmImage } from './image.js';

const DISKS = `${ROOT}.cache/vm/`;

/** Removes what runs have left that did not come to remove it. */
function sweepDisks(): void {
  for (const name of readdirSync(DISKS)) {
    const pid = /^run-(\d+)-.*\.qcow2$/.exec(name)?.[1];
    if (pid && !processIdentity(Number(pid))) rmSync(`${DISKS}${name}`, { force: true });
  }
}

export interface BootOptions {
  /** The kernel's command line, beyond what every boot has. */
  readonly arguments: readonly string[];
  readonly timeoutMs: number;
  readonly memoryMiB: number;
  /** Takes the console, line by line. */
  readonly print: (line: string) => void;
}

/** What a machine says as the last it does for its test. */
const EXIT = /^LAB-EXIT (\d+)/;
/** By this line it asks for its power to be cut, at once. */
const CUT = /^LAB-CUT-POWER/;

/** A machine under QEMU's emulator (no KVM needed), with a disk of its own that lasts from boot to boot. */
export class Machine {
  private constructor(
    private readonly image: VmImage,
    private readonly repository: string,
    private readonly disk: string,
  ) {}

  /** @param name tells machines that are there at the same time apart */
  static async create(image: VmImage, repository: string, name: string): Promise<Machine> {
    sweepDisks();
    const disk = `${DISKS}run-${process.pid}-${name}.qcow2`;
    await must(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image.disk, '-F', 'raw', disk]);
    return new Machine(image, repository, disk);
  }

  remove(): void {
    rmSync(this.disk, { force: true });
  }

  /**
   * Boots it, and waits until it is off: by its own will, by a reboot, or since it has asked for a power cut.
   *
   * @returns the exit code it has told
   * @throws ClusterError `deadlineExceeded` when it is not done in time, `internal` when it ends without a code
   */
  async boot(options: BootOptions): Promise<number> {
    // It ends with us, however we end.
    const command = ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...this.#arguments(options)];
    const machine = spawn('setpriv', command, {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let code: number | undefined;
    createInterface({ input: machine.stdout }).on('line', (line) => {
      const exit = EXIT.exec(line);
      if (exit) code = Number(exit[1]);
      else if (CUT.test(line)) machine.kill('SIGKILL');
      else options.print(line);
    });
    let timedOut = false;
    const cancel = systemClock.after(options.timeoutMs, () => {
      timedOut = true;
      machine.kill('SIGKILL');
    });
    await new Promise<void>((resolve, reject) => {
      machine.once('close', () => resolve());
      machine.once('error', reject);
    });
    cancel();
    if (timedOut)
      throw new ClusterError(
        'deadlineExceeded',
        `the machine was not done after ${options.timeoutMs / 1000} s`,
      );
    if (code === undefined) throw new ClusterError('internal', 'the machine ended without saying how');
    return code;
  }

  #arguments({ memoryMiB, arguments: words }: BootOptions): string[] {
    // q35 and NVMe: `microvm` hangs at boot now and then, and the cloud kernel has NVMe and ext4 built in.
    return [
      '-nodefaults',
      ...['-display', 'none'],
      '-no-reboot',
      ...['-serial', 'stdio'],
      ...['-machine', 'q35'],
      ...['-accel', 'tcg,thread=multi,tb-size=512'],
      ...['-cpu', 'Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm'],
      // One processor: with more, translated code that a guest's JIT rewrites is now and then run stale by
      // another processor's thread, and node dies of SIGSEGV or SIGILL in 5 of 12 starts.
      ...['-smp', '1'],
      ...['-m', String(memoryMiB)],
      ...['-kernel', this.image.kernel],
      '-append',
      `root=/dev/nvme0n1 console=ttyS0 rw quiet net.ifnames=0 panic=-1 ${words.join(' ')}`,
      // What the guest has flushed is on the disk, and nothing else need be: a power cut loses what a real one may.
      ...['-drive', `file=${this.disk},if=none,id=d0,cache=writeback`],
      ...['-device', 'nvme,drive=d0,serial=root'],
      ...['-drive', `file=${this.repository},if=none,id=d1,format=raw,readonly=on,file.locking=off`],
      ...['-device', 'nvme,drive=d1,serial=repo'],
    ];
  }
}
