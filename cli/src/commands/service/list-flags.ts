import type { MountJson } from '@tessera/shared/docker-api';
import type { Command } from 'commander';
import { many } from '../../cli.js';
import { badFlag } from '../../cli-error.js';
import { parseMap } from '../../output/parse.js';
import { readEnvFile } from './env-file.js';
import { parseMount } from './mount-flag.js';
import type { SpecDraft } from './spec-draft.js';

/** A flag that may be given many times: `--env` on create, `--env-add` and `--env-rm` on update. */
interface ListFlag {
  /** On create; on update `-add` and `-rm` are put after the name. */
  readonly name: string;
  readonly short?: string;
  /** What adds on update, where it is not NAME-add. */
  readonly addName?: string;
  readonly value: string;
  readonly description: string;
  read(draft: SpecDraft): readonly string[];
  write(draft: SpecDraft, items: readonly string[]): void;
  /** What `-rm` names, and what an added item replaces. */
  keyOf(item: string): string;
}

const beforeEquals = (item: string): string => item.split('=', 1)[0]!;
const itself = (item: string): string => item;
const mapEntries = (map: Readonly<Record<string, string>> | undefined): string[] =>
  Object.entries(map ?? {}).map(([key, value]) => `${key}=${value}`);

const LIST_FLAGS: readonly ListFlag[] = [
  {
    name: 'env',
    short: 'e',
    value: '<env>',
    description: 'environment variable NAME=VALUE, or NAME from here',
    read: ({ container }) => container.Env ?? [],
    write: ({ container }, items) => {
      container.Env = [...items];
    },
    keyOf: beforeEquals,
  },
  {
    name: 'label',
    short: 'l',
    value: '<label>',
    description: 'label of the service, KEY=VALUE',
    read: ({ spec }) => mapEntries(spec.Labels),
    write: ({ spec }, items) => {
      spec.Labels = parseMap(items);
    },
    keyOf: beforeEquals,
  },
  {
    name: 'container-label',
    value: '<label>',
    description: 'label of its containers, KEY=VALUE',
    read: ({ container }) => mapEntries(container.Labels),
    write: ({ container }, items) => {
      container.Labels = parseMap(items);
    },
    keyOf: beforeEquals,
  },
  {
    name: 'constraint',
    value: '<constraint>',
    description: 'where it may run: node.labels.disk==ssd',
    read: ({ placement }) => placement.Constraints ?? [],
    write: ({ placement }, items) => {
      placement.Constraints = [...items];
    },
    keyOf: (item) => item.replace(/\s+/g, ''),
  },
  {
    name: 'placement-pref',
    value: '<preference>',
    description: 'what to spread over: spread=node.labels.zone',
    read: ({ placement }) =>
      (placement.Preferences ?? []).map(({ Spread }) => `spread=${Spread.SpreadDescriptor}`),
    write: ({ placement }, items) => {
      placement.Preferences = items.map((item) => {
        if (!item.startsWith('spread='))
          throw badFlag('--placement-pref', item, 'write spread=node.labels.NAME');
        return { Spread: { SpreadDescriptor: item.slice('spread='.length) } };
      });
    },
    keyOf: itself,
  },
  {
    name: 'mount',
    value: '<mount>',
    description: 'type=bind,source=/on/host,target=/in/it,readonly or type=tmpfs,target=/in/it',
    read: ({ container }) => (container.Mounts ?? []).map((mount) => JSON.stringify(mount)),
    write: ({ container }, items) => {
      container.Mounts = items.map((item) =>
        item.startsWith('{') ? (JSON.parse(item) as never) : (parseMount(item) as never),
      );
    },
    keyOf: (item) => {
      if (item.startsWith('{')) return (JSON.parse(item) as MountJson).Target;
      return item.includes('=') ? parseMount(item).Target : item;
    },
  },
  {
    name: 'network',
    value: '<network>',
    description: 'network to attach to: NAME, or name=NAME,alias=ALIAS',
    read: ({ task }) =>
      (task.Networks ?? []).map(({ Target, Aliases }) =>
        [`name=${Target}`, ...(Aliases ?? []).map((alias) => `alias=${alias}`)].join(','),
      ),
    write: ({ task }, items) => {
      task.Networks = items.map(parseNetwork);
    },
    keyOf: (item) => parseNetwork(item).Target,
  },
  {
    name: 'host',
    value: '<host>',
    description: 'line of /etc/hosts, HOST:IP',
    read: ({ container }) => (container.Hosts ?? []).map(hostFlag),
    write: ({ container }, items) => {
      container.Hosts = items.map((item) => {
        const at = item.indexOf(':');
        if (at < 1 || at === item.length - 1) throw badFlag('--host', item, 'write HOST:IP');
        return `${item.slice(at + 1)} ${item.slice(0, at)}`;
      });
    },
    keyOf: (item) => item.split(':', 1)[0]!,
  },
  {
    name: 'dns',
    value: '<address>',
    description: 'DNS server',
    read: ({ dns }) => dns.Nameservers ?? [],
    write: ({ dns }, items) => {
      dns.Nameservers = [...items];
    },
    keyOf: itself,
  },
  {
    name: 'dns-search',
    value: '<domain>',
    description: 'DNS search domain',
    read: ({ dns }) => dns.Search ?? [],
    write: ({ dns }, items) => {
      dns.Search = [...items];
    },
    keyOf: itself,
  },
  {
    name: 'dns-option',
    value: '<option>',
    description: 'DNS resolver option',
    read: ({ dns }) => dns.Options ?? [],
    write: ({ dns }, items) => {
      dns.Options = [...items];
    },
    keyOf: itself,
  },
  {
    name: 'group',
    value: '<group>',
    description: 'supplementary group',
    read: ({ container }) => container.Groups ?? [],
    write: ({ container }, items) => {
      container.Groups = [...items];
    },
    keyOf: itself,
  },
  {
    name: 'ulimit',
    value: '<ulimit>',
    description: 'resource limit NAME=SOFT[:HARD]',
    read: ({ container }) =>
      (container.Ulimits ?? []).map(({ Name, Soft, Hard }) => `${Name}=${Soft}:${Hard}`),
    write: ({ container }, items) => {
      container.Ulimits = items.map(parseUlimit);
    },
    keyOf: beforeEquals,
  },
  {
    name: 'sysctl',
    value: '<sysctl>',
    description: 'kernel parameter KEY=VALUE',
    read: ({ container }) => mapEntries(container.Sysctls),
    write: ({ container }, items) => {
      container.Sysctls = parseMap(items);
    },
    keyOf: beforeEquals,
  },
  {
    name: 'log-opt',
    addName: 'log-opt',
    value: '<option>',
    description: "log driver's option KEY=VALUE",
    read: ({ task }) => mapEntries(task.LogDriver?.Options),
    write: ({ logDriver }, items) => {
      logDriver.Options = parseMap(items);
    },
    keyOf: beforeEquals,
  },
];

type Apply = (draft: SpecDraft, values: Readonly<Record<string, unknown>>) => void;

/** Offers the flags of `service create` on a command. */
export function addListFlags(command: Command, env: () => Readonly<NodeJS.ProcessEnv>): Apply {
  const known = LIST_FLAGS.map((list) => {
    const short = list.short ? `-${list.short}, ` : '';
    command.option(`${short}--${list.name} ${list.value}`, list.description, many);
    return { list, key: command.options.at(-1)!.attributeName() };
  });
  command.option('--env-file <file>', 'file of such variables, one a line', many);
  addCapabilityFlags(command);
  return (draft, values) => {
    for (const { list, key } of known) {
      const items = list.name === 'env' ? environment(values) : (values[key] as string[] | undefined);
      if (items) list.write(draft, unique(list, fromEnvironment(list, items, env())));
    }
    applyCapabilities(draft, values);
  };
}

/** Offers the flags of `service update` on a command. */
export function addListChangeFlags(command: Command, env: () => Readonly<NodeJS.ProcessEnv>): Apply {
  const known = LIST_FLAGS.map((list) => {
    command.option(`--${list.addName ?? `${list.name}-add`} ${list.value}`, `add: ${list.description}`, many);
    const addKey = command.options.at(-1)!.attributeName();
    command.option(`--${list.name}-rm <key>`, 'take away', many);
    return { list, addKey, removeKey: command.options.at(-1)!.attributeName() };
  });
  addCapabilityFlags(command);
  return (draft, values) => {
    for (const { list, addKey, removeKey } of known) {
      const added = fromEnvironment(list, (values[addKey] as string[] | undefined) ?? [], env());
      const removed = new Set((values[removeKey] as string[] | undefined)?.map((item) => list.keyOf(item)));
      if (added.length === 0 && removed.size === 0) continue;
      const kept = list.read(draft).filter((item) => !removed.has(list.keyOf(item)));
      list.write(draft, unique(list, [...kept, ...added]));
    }
    applyCapabilities(draft, values);
  };
}

/** Those of files come first, so that a flag overrides them. */
function environment(values: Readonly<Record<string, unknown>>): string[] | undefined {
  const files = values.envFile as string[] | undefined;
  const flags = values.env as string[] | undefined;
  return files ? [...files.flatMap(readEnvFile), ...(flags ?? [])] : flags;
}

/** The last of those with one key, at the place of the first. */
function unique(list: ListFlag, items: readonly string[]): string[] {
  return [...new Map(items.map((item) => [list.keyOf(item), item])).values()];
}

/** `--env NAME` takes the value from tsctl's own environment, or leaves the variable out. */
function fromEnvironment(
  list: ListFlag,
  items: readonly string[],
  env: Readonly<NodeJS.ProcessEnv>,
): string[] {
  if (list.name !== 'env') return [...items];
  return items.flatMap((item) => {
    if (item.includes('=')) return [item];
    return env[item] === undefined ? [] : [`${item}=${env[item]}`];
  });
}

function addCapabilityFlags(command: Command): void {
  command.option('--cap-add <capability>', 'add a capability', many);
  command.option('--cap-drop <capability>', 'drop a capability', many);
}

function applyCapabilities({ container }: SpecDraft, values: Readonly<Record<string, unknown>>): void {
  const normal = (name: string) => {
    const upper = name.toUpperCase();
    return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  };
  const added = values.capAdd as string[] | undefined;
  const dropped = values.capDrop as string[] | undefined;
  if (added)
    container.CapabilityAdd = [...new Set([...(container.CapabilityAdd ?? []), ...added.map(normal)])];
  if (dropped) {
    container.CapabilityDrop = [...new Set([...(container.CapabilityDrop ?? []), ...dropped.map(normal)])];
  }
}

function parseNetwork(item: string): { Target: string; Aliases?: string[] } {
  if (!item.includes('=')) return { Target: item };
  let target = '';
  const aliases: string[] = [];
  for (const part of item.split(',')) {
    const at = part.indexOf('=');
    const [key, value] = [part.slice(0, at), part.slice(at + 1)];
    if (key === 'name') target = value;
    else if (key === 'alias') aliases.push(value);
    else throw badFlag('--network', item, `${key || part} is neither name nor alias`);
  }
  if (target === '') throw badFlag('--network', item, 'write name=NAME');
  return { Target: target, ...(aliases.length > 0 ? { Aliases: aliases } : {}) };
}

/** The spec's "IP HOST" as the flag's HOST:IP. */
function hostFlag(line: string): string {
  const [address = '', name = ''] = line.split(/\s+/);
  return `${name}:${address}`;
}

function parseUlimit(item: string): { Name: string; Soft: number; Hard: number } {
  const found = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(item);
  if (!found) throw badFlag('--ulimit', item, 'write NAME=SOFT[:HARD], such as nofile=1024:4096');
  const soft = Number(found[2]);
  return { Name: found[1]!, Soft: soft, Hard: found[3] === undefined ? soft : Number(found[3]) };
}
