import { Simulation, type SimulationReport } from './simulation.js';

/** `small` is for many seeds, `large` for a hundred nodes and a thousand tasks. */
export const SIZES = {
  small: { nodeCount: 8, taskCount: 40, managerCount: 3, troubleMs: 45_000, settleMs: 600_000 },
  large: { nodeCount: 100, taskCount: 1_000, managerCount: 3, troubleMs: 30_000, settleMs: 600_000 },
} as const;
export type Size = keyof typeof SIZES;

/** One seed from beginning to end. The same seed and size go the same way every time. */
export function runSeed(
  seed: number,
  size: Size,
  onLog?: (line: string) => void,
  withContainers = true,
): Promise<SimulationReport> {
  return new Simulation({ seed, ...SIZES[size], withContainers, ...(onLog && { onLog }) }).run();
}
