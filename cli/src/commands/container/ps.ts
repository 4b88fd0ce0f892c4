import { timeAgo } from '@tessera/shared/units';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printList, type Row } from '../../output/list.js';
import { shortId } from '../../output/words.js';

const COLUMNS = [
  ['ID', 'CONTAINER ID'],
  ['Image', 'IMAGE'],
  ['Command', 'COMMAND'],
  ['RunningFor', 'CREATED'],
  ['Status', 'STATUS'],
  ['Ports', 'PORTS'],
  ['Names', 'NAMES'],
] as const;
const COMMAND_LENGTH = 20;

interface PortJson {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
}
interface ContainerJson {
  readonly Id: string;
  readonly Names: readonly string[];
  readonly Image: string;
  readonly Command: string;
  readonly Created: number;
  readonly State: string;
  readonly Status: string;
  readonly Ports: readonly PortJson[];
  readonly Labels: Readonly<Record<string, string>>;
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, unknown>> };
}
interface Flags {
  readonly all: boolean;
  readonly filter?: string[];
  readonly format?: string;
  readonly last?: string;
  readonly latest: boolean;
  readonly quiet: boolean;
  readonly trunc: boolean;
}

export const ps: Verb = (noun, cli) => {
  noun
    .command('ps')
    .aliases(['ls', 'list'])
    .description('List containers')
    .option('-a, --all', 'those that do not run as well', false)
    .option('-f, --filter <filter>', 'KEY=VALUE: name, status, label, ancestor, node, …', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('-n, --last <number>', 'the last ones made, whatever their state')
    .option('-l, --latest', 'the last one made', false)
    .option('--no-trunc', 'do not shorten')
    .option('-q, --quiet', 'only ids', false)
    .action(async (flags: Flags) => {
      const containers = await cli.api.get<ContainerJson[]>('/containers/json', {
        all: flags.all,
        limit: flags.latest ? 1 : flags.last,
        filters: encodeFilters(parseFilterFlags(flags.filter)),
      });
      const nowMs = cli.clock.now();
      printList(
        cli.out,
        COLUMNS,
        'ID',
        containers.map((container) => row(container, nowMs, flags.trunc)),
        flags,
      );
    });
};

function row(container: ContainerJson, nowMs: number, trunc: boolean): Row {
  const { Command: command } = container;
  const short = command.length > COMMAND_LENGTH ? `${command.slice(0, COMMAND_LENGTH - 1)}…` : command;
  return {
    ID: trunc ? shortId(container.Id) : container.Id,
    Image: container.Image,
    Command: `"${trunc ? short : command}"`,
    RunningFor: timeAgo(nowMs, container.Created * 1_000),
    CreatedAt: new Date(container.Created * 1_000).toISOString(),
    State: container.State,
    Status: container.Status,
    Ports: container.Ports.map(portText).join(', '),
    Names: container.Names.map((name) => name.slice(1)).join(','),
    Networks: Object.keys(container.NetworkSettings.Networks).join(','),
    Labels: Object.entries(container.Labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(','),
  };
}

const portText = ({ IP, PrivatePort, PublicPort, Type }: PortJson): string =>
  `${PublicPort ? `${IP}:${PublicPort}->` : ''}${PrivatePort}/${Type}`;
