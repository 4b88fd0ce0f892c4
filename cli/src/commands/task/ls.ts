import type { TaskJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printTasks, type TaskListFlags } from '../../output/task-list.js';

export const ls: Verb = (noun, cli) => {
  noun
    .command('ls')
    .alias('list')
    .description('List tasks of all services')
    .option('-f, --filter <filter>', 'KEY=VALUE: id, name, service, node, label, desired-state', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('--no-trunc', 'do not shorten')
    .option('--no-resolve', 'do not map ids to names')
    .option('-q, --quiet', 'only ids')
    .action(async (flags: TaskListFlags & { filter?: string[] }) => {
      const filters = encodeFilters(parseFilterFlags(flags.filter));
      await printTasks(cli, await cli.api.get<TaskJson[]>('/tasks', { filters }), flags);
    });
};
