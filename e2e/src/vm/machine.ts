import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { systemClock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { must } from '../lab/command.js';
import { ROOT } from '../lab/paths.js';
import type { VmImage } from './image.js';

/**
 * Boots a machine under QEMU's emulator (no KVM needed), runs the command on its second disk and gives that
 * command's exit code. The command finds `share`, such as `1/2`, in $SHARE. The console goes to `print`, line by line.
 *
 * @throws ClusterError `deadlineExceeded` when it is not done in time, `internal` when it ends without a code
 */
export async function boot(
  image: VmImage,
  repository: string,
  options: {
    readonly share: string;
    readonly timeoutMs: number;
    readonly memoryMiB: number;
    readonly print: (line: string) => void;
  },
): Promise<number> {
  const overlay = `${ROOT}.cache/vm/run-${process.pid}-${options.share.replace('/', '-')}.qcow2`;
  await must(['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image.disk, '-F', 'raw', overlay]);
  try {
    // q35 and NVMe: `microvm` hangs at boot now and then, and the cloud kernel has NVMe and ext4 built in.
    const machine = spawn(
      'qemu-system-x86_64',
      [
        '-nodefaults',
        '-display',
        'none',
        '-no-reboot',
        '-serial',
        'stdio',
        '-machine',
        'q35',
        '-accel',
        'tcg,thread=multi,tb-size=512',
        '-cpu',
        'Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-invpcid,-rtm',
        // One processor: with more, translated code that a guest's JIT rewrites is now and then run stale by
        // another processor's thread, and node dies of SIGSEGV or SIGILL in 5 of 12 starts.
        '-smp',
        '1',
        '-m',
        String(options.memoryMiB),
        '-kernel',
        image.kernel,
        '-append',
        `root=/dev/nvme0n1 console=ttyS0 rw quiet net.ifnames=0 panic=-1 init=/sbin/lab-init share=${options.share}`,
        '-drive',
        `file=${overlay},if=none,id=d0,cache=unsafe`,
        '-device',
        'nvme,drive=d0,serial=root',
        '-drive',
        `file=${repository},if=none,id=d1,format=raw,readonly=on,file.locking=off`,
        '-device',
        'nvme,drive=d1,serial=repo',
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let code: number | undefined;
    createInterface({ input: machine.stdout }).on('line', (line) => {
      const exit = /^LAB-EXIT (\d+)/.exec(line);
      if (exit) code = Number(exit[1]);
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
  } finally {
    rmSync(overlay, { force: true });
  }
}
