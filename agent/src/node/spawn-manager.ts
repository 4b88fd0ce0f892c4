import { fileURLToPath } from 'node:url';

/** The manager's program, from `agent/dist/node` and from `agent/src/node` alike. */
const MANAGER_MAIN = fileURLToPath(new URL('../../../manager/dist/main.js', import.meta.url));

/**
 * Starts this node's manager, which outlives us.
 *
 * @returns its pid
 */
export async function spawnManager(
  args: readonly string[],
  outputFd: number,
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  // Loaded on first use: an agent that only starts again has its manager already.
  const { spawnDaemon } = await import('@tessera/native');
  return spawnDaemon({ path: process.execPath, args: [MANAGER_MAIN, ...args], env, outputFd });
}
