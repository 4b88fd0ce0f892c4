#!/usr/bin/env node
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { ClusterError, errorText } from '@tessera/shared/errors';
import { readLivePidFile, writePidFile } from '@tessera/shared/process';
import { type Config, parseConfig } from './config.js';
import { runManager } from './process/manager.js';

const NAME = 'ts-manager';

async function main(): Promise<void> {
  let config: Config;
  try {
    config = parseConfig(process.argv.slice(2));
  } catch (error) {
    return die(createLogger({ level: 'error', name: NAME }), error);
  }
  const logger = createLogger({ level: config.logLevel, name: NAME });
  process.on('uncaughtException', (error) => die(logger, error));
  process.on('unhandledRejection', (error) => die(logger, error));

  const stopping = new AbortController();
  const stop = (name: string) => {
    logger.info({ signal: name }, 'stopping');
    stopping.abort(new ClusterError('cancelled', 'the manager is stopping'));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  // The terminal or the tsd that started it may go; the manager stays.
  process.on('SIGHUP', () => {});

  const pidFile = join(config.runDir, 'manager.pid');
  try {
    claimPidFile(config, pidFile);
    const env = { clock: systemClock, random: systemRandom, logger };
    await runManager(config, env, stopping.signal);
    rmSync(pidFile, { force: true });
    process.exit(0);
  } catch (error) {
    if (stopping.signal.aborted) process.exit(0);
    die(logger, error);
  }
}

function claimPidFile(config: Config, path: string): void {
  mkdirSync(config.runDir, { recursive: true, mode: 0o711 });
  const other = readLivePidFile(path);
  if (other && other.pid !== process.pid)
    throw new ClusterError('failedPrecondition', `a manager runs already, with pid ${other.pid} (${path})`);
  writePidFile(path);
}

/** The last line is what `tsd` shows its user. */
function die(logger: ReturnType<typeof createLogger>, error: unknown): void {
  logger.error({ error }, errorText(error));
  process.exit(1);
}

await main();
