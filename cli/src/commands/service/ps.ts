import type { TaskJson } from '@tessera/shared/docker-api';
import { failIfAny, findEach, many, parseFilterFlags, type Verb } from '../../cli.js';
import { encodeFilters } from '../../client/api-client.js';
import { printTasks, type TaskListFlags } from '../../output/task-list.js';
import { findService } from './find-service.js';

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
      const { found, failures } = await findEach(cli, names, (name) => findService(cli, name));
      if (found.length > 0) {
        const filters = { ...parseFilterFlags(flags.filter), service: found.map(({ ID }) => ID) };
        const tasks = await cli.api.get<TaskJson[]>('/tasks', { filters: encodeFilters(filters) });
        await printTasks(cli, tasks, flags);
      }
      failIfAny(failures);
    });
};
