import { fileURLToPath } from 'node:url';
import { spawnDaemon } from '@tessera/native';

/** The manager's program, from `agent/dist/node` and from `agent/src/node` alike. */
const MANAGER_MAIN = fileURLToPath(new URL('../../../manager/dist/main.js', import.meta.url));

/**
 * Starts this node's manager, which outlives us.
 *
 * @returns its pid
 */
export const spawnManager = async (args: readonly string[], outputFd: number): Promise<number> =>
  spawnDaemon({ path: process.execPath, args: [MANAGER_MAIN, ...args], env: process.env, outputFd });
