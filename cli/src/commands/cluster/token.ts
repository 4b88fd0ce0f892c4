import type { InfoJson, SwarmJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';

export const token: Verb = (noun, cli) => {
  noun
    .command('token')
    .alias('join-token')
    .description('Show or rotate the token that hosts join with')
    .argument('<role>', 'worker or manager')
    .option('-q, --quiet', 'only the token', false)
    .option('--rotate', 'make a new one; the old one is no longer valid', false)
    .action(async (role: string, flags: { quiet: boolean; rotate: boolean }) => {
      if (role !== 'worker' && role !== 'manager') {
        throw new CliError(`unknown role ${role}: give worker or manager`, EXIT_USAGE);
      }
      if (flags.rotate) {
        const before = await cli.api.get<SwarmJson>('/swarm');
        const rotate = role === 'worker' ? 'rotateWorkerToken' : 'rotateManagerToken';
        await cli.api.post('/swarm/update', before.Spec, { version: before.Version.Index, [rotate]: true });
        if (!flags.quiet) cli.out.line(`Successfully rotated ${role} join token.\n`);
      }
      const { JoinTokens } = await cli.api.get<SwarmJson>('/swarm');
      const text = role === 'worker' ? JoinTokens.Worker : JoinTokens.Manager;
      if (flags.quiet) {
        cli.out.line(text);
        return;
      }
      const info = await cli.api.get<InfoJson>('/info');
      const self = info.Swarm.RemoteManagers?.find(({ NodeID }) => NodeID === info.Swarm.NodeID);
      cli.out.line(`To add a ${role} to this cluster, run the following command on it:\n`);
      cli.out.line(`    tsctl cluster join --token ${text} ${self?.Addr ?? 'HOST:2377'}\n`);
    });
};
