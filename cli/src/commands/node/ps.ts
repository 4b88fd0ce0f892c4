import type { NodeJson, TaskJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
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
      const nodes = await Promise.all(
        names.map((name) => cli.api.get<NodeJson>(`/nodes/${encodeURIComponent(name)}`)),
      );
      const filters = { ...parseFilterFlags(flags.filter), node: nodes.map(({ ID }) => ID) };
      const tasks = await cli.api.get<TaskJson[]>('/tasks', { filters: encodeFilters(filters) });
      await printTasks(cli, tasks, flags);
    });
};
