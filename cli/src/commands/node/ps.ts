import type { NodeJson, TaskJson } from '@tessera/shared/docker-api';
import { failIfAny, findEach, many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printTasks, type TaskListFlags } from '../../output/task-list.js';

export const ps: Verb = (noun, cli) => {
  noun
    .command('ps')
    .description('List the tasks of nodes')
    .argument('[node...]', 'ids or names', ['self'])
    .option('-f, --filter <filter>', 'KEY=VALUE: id, name, desired-state', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('--no-trunc', 'do not shorten')
    .option('--no-resolve', 'do not map ids to names')
    .option('-q, --quiet', 'only ids')
    .action(async (names: string[], flags: TaskListFlags & { filter?: string[] }) => {
      const { found, failures } = await findEach(cli, names, (name) =>
        cli.api.get<NodeJson>(`/nodes/${encodeURIComponent(name)}`),
      );
      if (found.length > 0) {
        const filters = { ...parseFilterFlags(flags.filter), node: found.map(({ ID }) => ID) };
        const tasks = await cli.api.get<TaskJson[]>('/tasks', { filters: encodeFilters(filters) });
        await printTasks(cli, tasks, flags);
      }
      failIfAny(failures);
    });
};
