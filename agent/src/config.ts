import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { invalid } from '@tessera/shared/errors';
import { DEFAULT_SOCKET_GROUP } from '@tessera/shared/process';
import { z } from 'zod';

/** Every setting: its flag's text for `--help`, and its default. The environment's name is TESSERA_ and the flag in capitals. */
const SETTINGS = {
  'data-dir': { help: 'what survives a boot', default: '/var/lib/tessera' },
  'run-dir': { help: 'what does not: sockets, pid files, mounts', default: '/run/tessera' },
  'advertise-addr': { help: 'address or interface[:port] others reach this node by', default: '' },
  'listen-addr': { help: 'address or interface[:port] a manager here listens on', default: '0.0.0.0:2377' },
  'data-path-addr': {
    help: 'address or interface of overlay traffic (default: the advertise address)',
    default: '',
  },
  'data-path-port': { help: 'UDP port of overlay traffic in a new cluster', default: '4789' },
  // TCP port 7946 is Docker Swarm's gossip: ours lies beside it, so both can run on one host.
  'peer-addr': { help: 'address:port other agents fetch image layers from', default: '0.0.0.0:7947' },
  'cgroup-parent': { help: 'cgroup under which agent, shims and containers live', default: '/tessera' },
  capacity: { help: 'cpus=N,memory=N[kmgt],pids=N offered (default: what the cgroup allows)', default: '' },
  hostname: { help: "the node's name (default: the host's)", default: '' },
  'socket-group': {
    help: "group that may open the API's socket, and so is root here (empty: root alone)",
    default: DEFAULT_SOCKET_GROUP,
  },
  selinux: {
    help: 'auto: containers have SELinux labels where the policy has containers; off: never',
    default: 'auto',
  },
  'enter-timeout': { help: 'seconds that `cluster init` and `join` may take on this host', default: '120' },
  'log-level': { help: 'error, warn, info or debug', default: 'info' },
  'insecure-registry': {
    help: 'HOST[:PORT] or CIDR of registries without verified TLS; may be repeated, or separated by commas',
    default: '',
  },
  'registry-mirror': {
    help: 'URL asked before docker.io; may be repeated, or separated by commas',
    default: '',
  },
  'http-proxy': { help: 'proxy for registries without TLS (default: HTTP_PROXY)', default: '' },
  'https-proxy': { help: 'proxy for registries with TLS (default: HTTPS_PROXY)', default: '' },
  'no-proxy': {
    help: 'hosts and networks reached without, separated by commas (default: NO_PROXY)',
    default: '',
  },
  'etcd-endpoints': { help: 'an etcd to use instead of one of our own, separated by commas', default: '' },
  'etcd-cacert': { help: 'PEM file of the authority of that etcd', default: '' },
  'etcd-cert': { help: 'PEM file of a client certificate for that etcd', default: '' },
  'etcd-key': { help: 'PEM file of its key', default: '' },
} as const;

type SettingName = keyof typeof SETTINGS;
const REPEATED: readonly SettingName[] = ['insecure-registry', 'registry-mirror'];
const NAMES = Object.keys(SETTINGS) as SettingName[];

/** What other programs of this host go by as well. */
const COMMON_VARIABLES: Partial<Record<SettingName, readonly string[]>> = {
  'http-proxy': ['HTTP_PROXY', 'http_proxy'],
  'https-proxy': ['HTTPS_PROXY', 'https_proxy'],
  'no-proxy': ['NO_PROXY', 'no_proxy'],
};

const SCHEMA = z.object({
  'data-dir': z.string().min(1),
  'run-dir': z.string().min(1),
  'advertise-addr': z.string(),
  'listen-addr': z.string().min(1),
  'data-path-addr': z.string(),
  'data-path-port': z.coerce.number().int().min(1).max(65_535),
  'peer-addr': z.string().regex(/:\d+$/, 'must be ADDRESS:PORT'),
  'cgroup-parent': z.string().regex(/^\/[^.]/, 'must be an absolute path below the cgroup root'),
  capacity: z.string(),
  hostname: z.string().max(63),
  'socket-group': z.string().max(64),
  selinux: z.enum(['auto', 'off']),
  'enter-timeout': z.coerce.number().int().min(1).max(86_400),
  'log-level': z.enum(['error', 'warn', 'info', 'debug']),
  'insecure-registry': z.string(),
  'registry-mirror': z.string(),
  'http-proxy': z.string(),
  'https-proxy': z.string(),
  'no-proxy': z.string(),
  'etcd-endpoints': z.string(),
  'etcd-cacert': z.string(),
  'etcd-cert': z.string(),
  'etcd-key': z.string(),
});

/** What `tsd` was told at its start. */
export interface Config {
  readonly dataDir: string;
  readonly runDir: string;
  readonly advertiseAddr: string;
  readonly listenAddr: string;
  readonly dataPathAddr: string;
  readonly dataPathPort: number;
  readonly peerAddr: string;
  readonly cgroupParent: string;
  /** As `--capacity` has it; empty: what the cgroup allows. */
  readonly capacity: string;
  readonly hostname: string;
  /** Whose members may open the API's socket, by name or number; empty: root's alone. */
  readonly socketGroup: string;
  readonly selinux: z.infer<typeof SCHEMA>['selinux'];
  /** Until entering a cluster is given up: it takes seconds on an idle host, more under load. */
  readonly enterTimeoutMs: number;
  readonly logLevel: z.infer<typeof SCHEMA>['log-level'];
  readonly insecureRegistries: readonly string[];
  readonly registryMirrors: readonly string[];
  /** For traffic with registries. */
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;
  readonly etcdEndpoints: readonly string[];
  /** The manager's flags for that etcd's certificates, with their values. */
  readonly etcdTlsFlags: readonly string[];
}

export type Environment = Readonly<Record<string, string | undefined>>;

export type ParsedCommandLine =
  | { readonly kind: 'run'; readonly config: Config }
  | { readonly kind: 'help' | 'version' };

/** What a process that `tsd` starts for itself inherits, such as its PATH. */
export const inheritedEnvironment = (): Environment => process.env;

/** This process's own command line. @throws ClusterError `invalidArgument` */
export const readCommandLine = (): ParsedCommandLine => parseConfig(process.argv.slice(2), process.env);

/**
 * Flags over environment over file (`--config`, JSON with the flags' names) over defaults.
 *
 * @throws ClusterError `invalidArgument` naming the setting and where it came from
 */
export function parseConfig(args: readonly string[], env: Environment): ParsedCommandLine {
  const flags = parseFlags(args);
  if (flags.help) return { kind: 'help' };
  if (flags.version) return { kind: 'version' };

  const file = readFile((flags.config as string | undefined) ?? env.TESSERA_CONFIG);
  const values: Partial<Record<SettingName, unknown>> = {};
  const origins: Partial<Record<SettingName, string>> = {};
  for (const name of NAMES) {
    const own = `TESSERA_${name.toUpperCase().replaceAll('-', '_')}`;
    const variable = [own, ...(COMMON_VARIABLES[name] ?? [])].find((each) => env[each] !== undefined) ?? own;
    const [value, origin] =
      flags[name] !== undefined
        ? [flags[name], `--${name}`]
        : env[variable] !== undefined
          ? [env[variable], variable]
          : file[name] !== undefined
            ? [file[name], `"${name}" in the configuration file`]
            : [SETTINGS[name].default, `--${name}`];
    values[name] = value;
    origins[name] = origin;
  }
  const parsed = SCHEMA.safeParse(values);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const name = issue?.path[0] as SettingName;
    throw invalid(`invalid ${origins[name]} (${String(values[name])}): ${issue?.message}`);
  }
  return { kind: 'run', config: Object.freeze(toConfig(parsed.data)) };
}

function toConfig(data: z.infer<typeof SCHEMA>): Config {
  return {
    dataDir: resolve(data['data-dir']),
    runDir: resolve(data['run-dir']),
    advertiseAddr: data['advertise-addr'],
    listenAddr: data['listen-addr'],
    dataPathAddr: data['data-path-addr'],
    dataPathPort: data['data-path-port'],
    peerAddr: data['peer-addr'],
    cgroupParent: data['cgroup-parent'].replace(/\/+$/, ''),
    capacity: data.capacity,
    hostname: data.hostname || hostname(),
    socketGroup: data['socket-group'],
    selinux: data.selinux,
    enterTimeoutMs: data['enter-timeout'] * 1000,
    logLevel: data['log-level'],
    insecureRegistries: list(data['insecure-registry']),
    registryMirrors: list(data['registry-mirror']),
    httpProxy: data['http-proxy'],
    httpsProxy: data['https-proxy'],
    noProxy: data['no-proxy'],
    etcdEndpoints: list(data['etcd-endpoints']),
    etcdTlsFlags: (['etcd-cacert', 'etcd-cert', 'etcd-key'] as const).flatMap((name) =>
      data[name] ? [`--${name}`, resolve(data[name])] : [],
    ),
  };
}

const list = (text: string): string[] => text.split(',').filter(Boolean);

function parseFlags(args: readonly string[]): Readonly<Record<string, unknown>> {
  const options = Object.fromEntries([
    ...[...NAMES, 'config'].map((name) => [name, { type: 'string' as const }]),
    // As dockerd's, these may be given again and again.
    ...REPEATED.map((name) => [name, { type: 'string' as const, multiple: true }]),
    ['help', { type: 'boolean' as const, short: 'h' }],
    ['version', { type: 'boolean' as const, short: 'v' }],
  ]);
  try {
    const { values } = parseArgs({ args: [...args], options, strict: true, allowPositionals: false });
    return Object.fromEntries(
      Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]),
    );
  } catch (error) {
    throw invalid(`${(error as Error).message.split('. ')[0]}: see tsd --help`);
  }
}

function readFile(path: string | undefined): Readonly<Record<string, unknown>> {
  if (!path) return {};
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw invalid(`configuration file ${path}: ${(error as Error).message}`);
  }
  const result = z.record(z.string(), z.union([z.string(), z.number()])).safeParse(content);
  if (!result.success) throw invalid(`configuration file ${path} must be one JSON object of settings`);
  const unknown = Object.keys(result.data).find((name) => !NAMES.includes(name as SettingName));
  if (unknown !== undefined)
    throw invalid(
      `configuration file ${path}: there is no setting "${unknown}" (there are: ${NAMES.join(', ')})`,
    );
  return Object.fromEntries(Object.entries(result.data).map(([name, value]) => [name, String(value)]));
}

export function helpText(): string {
  const lines = NAMES.map((name) => {
    const { help, default: byDefault } = SETTINGS[name];
    return `  --${name.padEnd(16)} ${help}${byDefault ? ` (default ${byDefault})` : ''}`;
  });
  return [
    'Usage: tsd [flags]',
    '',
    'The agent of a Tessera node. It must run as root.',
    '',
    ...lines,
    `  --${'config'.padEnd(16)} a JSON file with these settings`,
    '',
    'Every flag can be given as TESSERA_<FLAG> in the environment.',
  ].join('\n');
}
