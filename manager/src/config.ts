import { parseArgs } from 'node:util';
import type { LogLevel } from '@tessera/shared/env';
import { errorText, invalid } from '@tessera/shared/errors';
import type { Node_Availability } from '@tessera/shared/model';
import { DEFAULT_SOCKET_GROUP } from '@tessera/shared/process';
import ipaddr from 'ipaddr.js';
import type { EtcdTlsFiles } from './etcd/index.js';

/** What `--init` makes a new cluster of. */
export interface InitConfig {
  readonly defaultAddrPools: readonly string[];
  readonly subnetSize: number;
  readonly dataPathPort: number;
  readonly taskHistoryLimit: number;
  readonly heartbeatPeriodMs: number;
  readonly availability: Node_Availability;
  readonly forceNewCluster: boolean;
}

/** The manager's configuration, by its flags. docs/building.md has their meaning. */
export interface Config {
  readonly dataDir: string;
  readonly runDir: string;
  readonly nodeDir: string;
  /** IP:PORT. */
  readonly listenAddr: string;
  readonly advertiseAddr: string;
  /** IP:PORT of the API over TLS; undefined: on the unix socket alone. */
  readonly apiListenAddr: string | undefined;
  /** Whose members may open the API's socket, by name or number; empty: root's alone. */
  readonly socketGroup: string;
  readonly hostname: string;
  /** Of an external etcd; empty: a child of this process. */
  readonly etcdEndpoints: readonly string[];
  /** Undefined: the external etcd is reached in clear, or its endpoints are https of a public authority. */
  readonly etcdTls: EtcdTlsFiles | undefined;
  readonly init: InitConfig | undefined;
  readonly logLevel: LogLevel;
}

const API_TLS_PORT = 2376;
/** As Swarm has them, so that clusters look alike. */
const DEFAULT_ADDR_POOL = '10.0.0.0/8';
const DEFAULT_SUBNET_SIZE = '24';
const DEFAULT_DATA_PATH_PORT = '4789';
/** As Swarm: `service ps` shows four ended tasks beside the one that runs. */
const DEFAULT_TASK_HISTORY_LIMIT = '5';
const DEFAULT_HEARTBEAT_PERIOD_MS = '1000';

/** @throws ClusterError `invalidArgument` that names the flag */
export function parseConfig(args: readonly string[]): Config {
  const flags = parse(args);
  const listenAddr = address('listen-addr', flags['listen-addr']);
  return {
    dataDir: required('data-dir', flags['data-dir']),
    runDir: required('run-dir', flags['run-dir']),
    nodeDir: required('node-dir', flags['node-dir']),
    listenAddr,
    advertiseAddr: address('advertise-addr', flags['advertise-addr']),
    apiListenAddr: apiListenAddr(flags['api-listen-addr'], listenAddr),
    socketGroup: flags['socket-group'],
    hostname: required('hostname', flags.hostname),
    etcdEndpoints: flags['etcd-endpoints']?.split(',').filter(Boolean) ?? [],
    etcdTls: etcdTls(flags),
    init: flags.init ? initConfig(flags) : undefined,
    logLevel: oneOf('log-level', flags['log-level'], ['error', 'warn', 'info', 'debug']),
  };
}

type Flags = ReturnType<typeof parse>;

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        'data-dir': { type: 'string' },
        'run-dir': { type: 'string' },
        'node-dir': { type: 'string' },
        'listen-addr': { type: 'string' },
        'advertise-addr': { type: 'string' },
        'api-listen-addr': { type: 'string' },
        'socket-group': { type: 'string', default: DEFAULT_SOCKET_GROUP },
        hostname: { type: 'string' },
        'etcd-endpoints': { type: 'string' },
        'etcd-cacert': { type: 'string' },
        'etcd-cert': { type: 'string' },
        'etcd-key': { type: 'string' },
        init: { type: 'boolean' },
        'default-addr-pool': { type: 'string', multiple: true },
        'subnet-size': { type: 'string', default: DEFAULT_SUBNET_SIZE },
        'task-history-limit': { type: 'string', default: DEFAULT_TASK_HISTORY_LIMIT },
        'heartbeat-period-ms': { type: 'string', default: DEFAULT_HEARTBEAT_PERIOD_MS },
        'data-path-port': { type: 'string', default: DEFAULT_DATA_PATH_PORT },
        availability: { type: 'string', default: 'active' },
        'force-new-cluster': { type: 'boolean', default: false },
        'log-level': { type: 'string', default: 'info' },
      },
    }).values;
  } catch (error) {
    throw invalid(errorText(error));
  }
}

function etcdTls(flags: Flags): EtcdTlsFiles | undefined {
  const { 'etcd-cacert': caFile, 'etcd-cert': certFile, 'etcd-key': keyFile } = flags;
  if (Boolean(certFile) !== Boolean(keyFile)) throw invalid('--etcd-cert and --etcd-key go together');
  if (certFile && !caFile) throw invalid('--etcd-cacert is missing: --etcd-cert needs it');
  return caFile ? { caFile, ...(certFile && keyFile && { certFile, keyFile }) } : undefined;
}

function initConfig(flags: Flags): InitConfig {
  const subnetSize = wholeNumber('subnet-size', flags['subnet-size'], 1, 29);
  const defaultAddrPools = flags['default-addr-pool'] ?? [DEFAULT_ADDR_POOL];
  for (const pool of defaultAddrPools) checkPool(pool, subnetSize);
  return {
    defaultAddrPools,
    subnetSize,
    dataPathPort: wholeNumber('data-path-port', flags['data-path-port'], 1024, 49_151),
    taskHistoryLimit: wholeNumber('task-history-limit', flags['task-history-limit'], 0, 1_000),
    heartbeatPeriodMs: wholeNumber('heartbeat-period-ms', flags['heartbeat-period-ms'], 100, 60_000),
    availability: oneOf('availability', flags.availability, ['active', 'pause', 'drain']),
    forceNewCluster: flags['force-new-cluster'],
  };
}

function checkPool(pool: string, subnetSize: number): void {
  if (!ipaddr.IPv4.isValidCIDR(pool))
    throw invalid(`--default-addr-pool: ${pool} is no IPv4 network such as 10.0.0.0/8`);
  const [, length] = ipaddr.IPv4.parseCIDR(pool);
  if (length > subnetSize)
    throw invalid(
      `--default-addr-pool: ${pool} has no room for a subnet of /${subnetSize}; change --subnet-size`,
    );
}

function apiListenAddr(text: string | undefined, listenAddr: string): string | undefined {
  if (text === 'none') return undefined;
  if (text !== undefined) return address('api-listen-addr', text);
  return `${listenAddr.slice(0, listenAddr.lastIndexOf(':'))}:${API_TLS_PORT}`;
}

function required(name: string, text: string | undefined): string {
  if (!text) throw invalid(`--${name} is missing`);
  return text;
}

function address(name: string, text: string | undefined): string {
  const [, host = '', port = ''] = /^(.+):(\d+)$/.exec(required(name, text)) ?? [];
  const ip = host.replace(/^\[(.*)\]$/, '$1');
  if (!ipaddr.isValid(ip) || Number(port) > 65_535) throw invalid(`--${name}: ${text} is not IP:PORT`);
  return text!;
}

function wholeNumber(name: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < min || number > max)
    throw invalid(`--${name}: ${text} is not a whole number from ${min} to ${max}`);
  return number;
}

function oneOf<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (!found) throw invalid(`--${name}: ${text} is not one of ${choices.join(', ')}`);
  return found;
}
