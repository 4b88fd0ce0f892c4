import type { VmImage } from '../image.js';
import { Machine } from '../machine.js';
import { PHASES } from './phases.js';

/**
 * One machine with systemd, booted once for each phase: containers of every restart policy over restarts of the unit,
 * a clean reboot, and a power cut.
 *
 * @returns the first exit code that is not 0, else 0
 */
export async function runReboots(
  image: VmImage,
  repository: string,
  options: { readonly timeoutMs: number; readonly print: (line: string) => void },
): Promise<number> {
  const machine = await Machine.create(image, repository, 'reboots');
  try {
    for (const phase of PHASES) {
      const code = await machine.boot({
        arguments: ['systemd.show_status=false', `lab.phase=${phase}`],
        timeoutMs: options.timeoutMs,
        memoryMiB: 1536,
        print: (line) => options.print(`reboots: ${line}`),
      });
      if (code !== 0) return code;
    }
    return 0;
  } finally {
    machine.remove();
  }
}
