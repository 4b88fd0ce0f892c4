import type { Verb } from '../../cli.js';

export const leave: Verb = (noun, cli) => {
  noun
    .command('leave')
    .description('Take this host out of its cluster')
    .option('-f, --force', 'even if it is a manager', false)
    .action(async ({ force }: { force: boolean }) => {
      await cli.api.post('/swarm/leave', undefined, { force: force ? 1 : undefined });
      cli.out.line('Node left the cluster.');
    });
};
