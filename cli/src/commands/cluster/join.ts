import type { InfoJson, SwarmJoinJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';

interface Flags {
  readonly token: string;
  readonly advertiseAddr: string;
  readonly listenAddr: string;
  readonly dataPathAddr: string;
  readonly availability: string;
}

export const join: Verb = (noun, cli) => {
  noun
    .command('join')
    .description('Join this host to a cluster')
    .argument('<host:port>', "a manager's address")
    .requiredOption(
      '--token <token>',
      'token for entry; print it on a manager with "tsctl cluster token worker"',
    )
    .option('--advertise-addr <addr>', 'address other hosts reach this one by', '')
    .option('--listen-addr <addr>', 'address to listen on (IP[:PORT])', '0.0.0.0:2377')
    .option('--data-path-addr <addr>', "address for containers' traffic between hosts", '')
    .option('--availability <state>', 'active, pause or drain', 'active')
    .action(async (address: string, flags: Flags) => {
      const body: SwarmJoinJson = {
        RemoteAddrs: [address],
        JoinToken: flags.token,
        AdvertiseAddr: flags.advertiseAddr,
        ListenAddr: flags.listenAddr,
        DataPathAddr: flags.dataPathAddr,
        Availability: flags.availability,
      };
      await cli.api.post('/swarm/join', body);
      const info = await cli.api.get<InfoJson>('/info');
      const role = info.Swarm.ControlAvailable ? 'manager' : 'worker';
      cli.out.line(`This node joined a cluster as a ${role}.`);
    });
};
