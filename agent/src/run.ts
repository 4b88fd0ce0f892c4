import { chmodSync, mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { API_HEADERS, ENGINE_VERSION } from '@tessera/shared/docker-api';
import { createLogger, type Logger, systemClock, systemRandom } from '@tessera/shared/env';
import { errorText } from '@tessera/shared/errors';
import { socketGroupId } from '@tessera/shared/process';
import { type Config, helpText, inheritedEnvironment, readCommandLine } from './config.js';
import { Daemon } from './daemon.js';
import { readSelinux } from './executor/container/security/selinux/policy.js';
import { localApi, nodeApi, SocketServer } from './local-api/index.js';
import {
  type DescriptionSources,
  describeNode,
  hostFacts,
  ManagerSupervisor,
  NodeDirectory,
  parseCapacity,
  readCapacity,
  takeInstanceLock,
} from './node/index.js';
import { spawnManager } from './node/spawn-manager.js';

/** Exit code for a command line or configuration that cannot be used, as of other daemons. */
const USAGE_EXIT_CODE = 2;

/** Runs the agent until it is told to stop. */
export async function run(): Promise<void> {
  const config = configOrExit();
  if (!config) return;
  const logger = createLogger({ level: config.logLevel, name: 'tsd' });
  // Its own lines are no JSON, and what goes wrong comes with the call as well.
  setLogVerbosity(logVerbosity.NONE);
  // A bug: containers go on, and whoever supervises us starts the next agent, which adopts them.
  for (const event of ['uncaughtException', 'unhandledRejection'] as const)
    process.on(event, (error: unknown) => {
      logger.error({ error }, `tsd ends because of a fault: ${errorText(error)}`);
      process.exit(1);
    });
  if (process.getuid?.() !== 0) {
    logger.error({}, 'tsd must run as root: it makes namespaces, mounts and cgroups');
    process.exit(1);
  }
  const releaseLock = takeDirectories(config, logger);

  const daemon = buildDaemon(config, logger);
  const local = new SocketServer({
    path: join(config.runDir, 'tsd.sock'),
    handler: localApi(daemon),
    headers: {},
    logger: logger.child({ module: 'local-api' }),
  });

  const stopped = new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  await local.listen();
  const started = daemon.start();
  started.catch((error: unknown) => {
    logger.error({ error }, `tsd could not start: ${errorText(error)}`);
    process.exit(1);
  });
  logger.info({ version: ENGINE_VERSION, dataDir: config.dataDir }, 'tsd has started');

  const reason = await stopped;
  logger.info({ signal: reason }, 'tsd stops; containers go on');
  await started;
  await daemon.stop(reason === 'SIGTERM' ? 'planned restart' : 'interrupted');
  releaseLock();
  process.exit(0);
}

/** Undefined when there is nothing to run: help was asked for, or the command line is wrong. */
function configOrExit(): Config | undefined {
  try {
    const parsed = readCommandLine();
    if (parsed.kind === 'run') return parsed.config;
    process.stdout.write(`${parsed.kind === 'help' ? helpText() : ENGINE_VERSION}\n`);
  } catch (error) {
    process.stderr.write(`tsd: ${errorText(error)}\n`);
    process.exitCode = USAGE_EXIT_CODE;
  }
  return undefined;
}

/** Data and keys are for root alone; sockets below the run directory have modes of their own. */
function takeDirectories(config: Config, logger: Logger): () => void {
  mkdirSync(config.dataDir, { recursive: true, mode: 0o700 });
  chmodSync(config.dataDir, 0o700);
  mkdirSync(config.runDir, { recursive: true, mode: 0o711 });
  try {
    return takeInstanceLock(config.dataDir);
  } catch (error) {
    logger.error({ error }, errorText(error));
    process.exit(1);
  }
}

function buildDaemon(config: Config, logger: Logger): Daemon {
  const directory = new NodeDirectory(join(config.dataDir, 'node'));
  const apiSocket = join(config.runDir, 'tessera.sock');
  const sources: DescriptionSources = {
    hostname: config.hostname,
    dataDir: config.dataDir,
    capacity: parseCapacity(config.capacity, readCapacity(config.cgroupParent)),
    peerListenAddr: config.peerAddr,
    insecureRegistries: config.insecureRegistries,
    registryMirrors: config.registryMirrors,
    selinux: readSelinux(config.selinux).kind === 'on',
  };
  const daemon: Daemon = new Daemon({
    config,
    directory,
    openParts: async (settings, identity) => {
      // Containers, networks and images are loaded while the session is being opened.
      const { openParts } = await import('./parts.js');
      return openParts({
        config,
        directory,
        settings,
        identity,
        clock: systemClock,
        random: systemRandom,
        logger,
      });
    },
    newSupervisor: (onChange) =>
      new ManagerSupervisor({
        dataDir: join(config.dataDir, 'manager'),
        runDir: config.runDir,
        spawn: (args, outputFd) => spawnManager(args, outputFd, inheritedEnvironment()),
        isReady: () => isManager(apiSocket),
        onChange,
        clock: systemClock,
        logger: logger.child({ module: 'supervisor' }),
      }),
    describe: (settings, peerPort) => describeNode(sources, settings, peerPort),
    host: () => hostFacts(sources, systemClock.now()),
    serveApi: async (serve) => (serve ? api.listen() : api.close()),
    clock: systemClock,
    random: systemRandom,
    logger,
  });
  const api = new SocketServer({
    path: apiSocket,
    groupId: socketGroupId(config.socketGroup),
    handler: nodeApi(daemon),
    headers: API_HEADERS,
    logger: logger.child({ module: 'api' }),
  });
  return daemon;
}

/** Whether a manager answers at the API socket: `tsd` itself never says that it is one. */
function isManager(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const ping = request({ socketPath, path: '/_ping', timeout: 5_000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200 && response.headers.swarm === 'active/manager');
    });
    ping.on('timeout', () => ping.destroy());
    ping.on('error', () => resolve(false));
    ping.end();
  });
}
