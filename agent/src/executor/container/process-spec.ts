import type { SpecRecord } from '@tessera/native';
import { invalid } from '@tessera/shared/errors';
import type { ContainerSpec, Ulimit } from '@tessera/shared/model';
import type { ImageConfig } from '../../image/image-store.js';
import type { HostSettings } from './host-config.js';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What is executed: the spec's command and arguments over the image's. @throws ClusterError when there is none */
export function commandOf(spec: ContainerSpec, image: ImageConfig): string[] {
  // As Docker: an entrypoint of one's own drops the image's arguments too.
  const own = spec.command.length > 0;
  // One empty word takes the image's away, and leaves none.
  const isNone = own && spec.command.every((word) => word === '');
  const entrypoint = isNone ? [] : own ? spec.command : image.entrypoint;
  const args = spec.args.length > 0 ? spec.args : own ? [] : image.cmd;
  const command = [...entrypoint, ...args];
  if (command.length === 0) throw invalid('no command specified');
  return command;
}

/** Later ones win; `NAME` without a value takes the name away. */
export function environmentOf(spec: ContainerSpec, image: ImageConfig, hostname: string): string[] {
  const variables = new Map<string, string>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', hostname],
    ...(spec.tty ? [['TERM', 'xterm'] as const] : []),
  ]);
  for (const entry of [...image.env, ...spec.env]) {
    const equals = entry.indexOf('=');
    if (equals < 0) variables.delete(entry);
    else if (equals > 0) variables.set(entry.slice(0, equals), entry.slice(equals + 1));
    else throw invalid(`env: "${entry}" has no name: write NAME=value`);
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

/** Numbers of setrlimit(2). */
const RLIMITS: Record<string, number> = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
};

/** Programs that still use select(2) break above it; they may raise it themselves. */
const SOFT_NOFILE = 1024;

/** @param hardNofile this process's own: Node raises the soft limit to it, and containers must not inherit that. */
export function rlimits(ulimits: readonly Ulimit[], hardNofile: number): SpecRecord[] {
  const given = ulimits.map(({ name, soft, hard }): SpecRecord => {
    const resource = RLIMITS[name];
    if (resource === undefined)
      throw invalid(`ulimit: unknown name "${name}": one of ${Object.keys(RLIMITS).join(', ')}`);
    return { name: 'RLIMIT', numbers: [resource, soft, hard] };
  });
  if (ulimits.some(({ name }) => name === 'nofile')) return given;
  return [
    ...given,
    {
      name: 'RLIMIT',
      numbers: [RLIMITS.nofile!, Math.min(SOFT_NOFILE, hardNofile), Math.min(524_288, hardNofile)],
    },
  ];
}

const NAMESPACED =
  /^(net\.|fs\.mqueue\.|kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)$)/;

/** Docker's defaults and the spec's. Only what the container's own namespaces hold may be set. */
export function sysctls(spec: ContainerSpec, settings: HostSettings): SpecRecord[] {
  const { namespaces, domainname } = settings;
  const { network, ipc } = namespaces;
  const hasOwnNetwork = network === 'own' || network === 'none';
  const hasOwnIpc = ipc !== 'host' && ipc !== 'joined';
  const values = new Map([
    // With the host's network they would be the host's; another container has set its own.
    ...(!hasOwnNetwork
      ? []
      : ([
          ['net.ipv4.ip_unprivileged_port_start', '0'],
          ['net.ipv4.ping_group_range', '0 2147483647'],
        ] as const)),
    ...Object.entries(spec.sysctls),
  ]);
  const records = [...values].map(([key, value]): SpecRecord => {
    if (!NAMESPACED.test(key) || !/^[\w.\-/]+$/.test(key) || key.includes('..'))
      throw invalid(
        `sysctl: "${key}" is the host's own, not the container's: only net.*, fs.mqueue.* and kernel IPC`,
      );
    const others = (what: string, joined: boolean) =>
      invalid(
        `sysctl: "${key}" would change ${joined ? 'another container' : 'the host'}, whose ${what} this container has: leave it out`,
      );
    if (!hasOwnNetwork && key.startsWith('net.')) throw others('network', network === 'joined');
    if (!hasOwnIpc && !key.startsWith('net.')) throw others('IPC', ipc === 'joined');
    return { name: 'SYSCTL', strings: [key.replaceAll('.', '/'), value] };
  });
  // The NIS domain, where setdomainname(2) keeps it.
  return domainname === ''
    ? records
    : [...records, { name: 'SYSCTL', strings: ['kernel/domainname', domainname] }];
}
