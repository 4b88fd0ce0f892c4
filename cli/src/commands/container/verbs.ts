import { forEachName, many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters, type Query } from '../../client/api-client.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';
import { formatTable } from '../../output/table.js';

const path = (name: string): string => `/containers/${encodeURIComponent(name)}`;

/** A verb that is asked of each container named, and answered with its name. */
const each =
  (
    verb: string,
    description: string,
    flags: readonly (readonly [string, string])[] = [],
    query = noQuery,
  ): Verb =>
  (noun, cli) => {
    const command = noun.command(verb).description(description).argument('<container...>', 'names or ids');
    for (const [flag, text] of flags) command.option(flag, text);
    command.action((names: string[], given: Readonly<Record<string, string>>) =>
      forEachName(cli, names, async (name) => {
        await cli.api.post(`${path(name)}/${verb}`, undefined, query(given));
        cli.out.line(name);
      }),
    );
  };

type Given = Readonly<Record<string, string>>;
const noQuery: (given: Given) => Query = () => ({});
const STOP_FLAGS = [
  ['-s, --signal <signal>', 'the signal that asks it to end'],
  ['-t, --timeout <seconds>', 'how long it may take until it is killed'],
] as const;
const stopQuery = ({ signal, timeout }: Readonly<Record<string, string>>): Query => ({ signal, t: timeout });

export const start = each('start', 'Start containers');
export const stop = each('stop', 'Stop containers', STOP_FLAGS, stopQuery);
export const restart = each('restart', 'Stop containers and start them again', STOP_FLAGS, stopQuery);
export const pause = each('pause', 'Freeze containers');
export const unpause = each('unpause', 'Let frozen containers go on');
export const kill = each(
  'kill',
  'Send containers a signal',
  [['-s, --signal <signal>', 'which one: SIGKILL']],
  ({ signal }) => ({ signal }),
);

export const rm: Verb = (noun, cli) => {
  noun
    .command('rm')
    .alias('remove')
    .description('Remove containers')
    .argument('<container...>', 'names or ids')
    .option('-f, --force', 'those that run as well', false)
    .option('-v, --volumes', 'with their anonymous volumes', false)
    .action((names: string[], { force, volumes }: { readonly force: boolean; readonly volumes: boolean }) =>
      forEachName(cli, names, async (name) => {
        await cli.api.delete(path(name), { force, v: volumes });
        cli.out.line(name);
      }),
    );
};

export const rename: Verb = (noun, cli) => {
  noun
    .command('rename')
    .description('Give a container another name')
    .argument('<container>', 'name or id')
    .argument('<name>', 'its name from now on')
    .action(async (container: string, name: string) => {
      await cli.api.post(`${path(container)}/rename`, undefined, { name });
    });
};

export const wait: Verb = (noun, cli) => {
  noun
    .command('wait')
    .description('Wait until containers have ended, and print their exit codes')
    .argument('<container...>', 'names or ids')
    .action((names: string[]) =>
      forEachName(cli, names, async (name) => {
        const { StatusCode } = await cli.api.post<{ StatusCode: number }>(`${path(name)}/wait`);
        cli.out.line(String(StatusCode));
      }),
    );
};

export const top: Verb = (noun, cli) => {
  noun
    .command('top')
    .description('Show what runs in a container')
    .argument('<container>', 'name or id')
    .action(async (name: string) => {
      const { Titles, Processes } = await cli.api.get<{ Titles: string[]; Processes: string[][] }>(
        `${path(name)}/top`,
      );
      cli.out.text(formatTable([Titles, ...Processes]));
    });
};

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show containers in full')
    .argument('<container...>', 'names or ids')
    .option('-f, --format <template>', 'json, or a Go template')
    .action((names: string[], flags: InspectFlags) =>
      inspectEach(cli, names, flags, (name) => cli.api.get<object>(`${path(name)}/json`)),
    );
};

export const prune: Verb = (noun, cli) => {
  noun
    .command('prune')
    .description('Remove all containers that do not run')
    .option('--filter <filter>', 'KEY=VALUE: label, until', many)
    .option('-f, --force', 'as docker has it: nothing is asked', false)
    .action(async ({ filter }: { readonly filter?: string[] }) => {
      const filters = encodeFilters(parseFilterFlags(filter));
      const answer = await cli.api.post<{ ContainersDeleted: string[] | null }>(
        '/containers/prune',
        undefined,
        {
          filters,
        },
      );
      for (const id of answer.ContainersDeleted ?? []) cli.out.line(id);
    });
};
