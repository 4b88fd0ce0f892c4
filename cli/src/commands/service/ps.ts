import type { ServiceJson, TaskJson } from '@tessera/shared/docker-api';
import { many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printTasks, type TaskListFlags } from '../../output/task-list.js';

export const ps: Verb = (noun, cli) => {
  noun
    .command('ps')
    .description('List the tasks of services')
    .argument('<service...>', 'names or ids')
    .option('-f, --filter <filter>', 'KEY=VALUE: id, name, node, desired-state', many)
    .option('--format <format>', 'table, json, or a Go template')
    .option('--no-trunc', 'do not shorten')
    .option('--no-resolve', 'do not map ids to names')
    .option('-q, --quiet', 'only ids')
    .action(async (names: string[], flags: TaskListFlags & { filter?: string[] }) => {
      const services = await Promise.all(
        names.map((name) => cli.api.get<ServiceJson>(`/services/${encodeURIComponent(name)}`)),
      );
      const filters = { ...parseFilterFlags(flags.filter), service: services.map(({ ID }) => ID) };
      const tasks = await cli.api.get<TaskJson[]>('/tasks', { filters: encodeFilters(filters) });
      await printTasks(cli, tasks, flags);
    });
};
