import type { InfoJson, SwarmInitJson, SwarmJson } from '@tessera/shared/docker-api';
import { many, type Verb } from '../../cli.js';
import { parseCount, parseDuration } from '../../output/parse.js';

interface Flags {
  readonly advertiseAddr: string;
  readonly listenAddr: string;
  readonly dataPathAddr: string;
  readonly dataPathPort: number;
  readonly defaultAddrPool?: string[];
  readonly defaultAddrPoolMaskLength: number;
  readonly availability: string;
  readonly forceNewCluster: boolean;
  readonly taskHistoryLimit?: number;
  readonly dispatcherHeartbeat?: number;
}

export const init: Verb = (noun, cli) => {
  noun
    .command('init')
    .description('Start a cluster with this host as its first manager')
    .option('--advertise-addr <addr>', 'address other hosts reach this one by (IP[:PORT])', '')
    .option('--listen-addr <addr>', 'address to listen on (IP[:PORT])', '0.0.0.0:2377')
    .option('--data-path-addr <addr>', "address for containers' traffic between hosts", '')
    .option(
      '--data-path-port <port>',
      "UDP port for containers' traffic (1024-49151)",
      parseCount('--data-path-port'),
      0,
    )
    .option('--default-addr-pool <cidr>', 'pool that subnets of networks are cut from; may be repeated', many)
    .option(
      '--default-addr-pool-mask-length <bits>',
      'prefix length of those subnets',
      parseCount('--default-addr-pool-mask-length'),
      24,
    )
    .option('--availability <state>', 'active, pause or drain', 'active')
    .option(
      '--task-history-limit <number>',
      'tasks kept in each slot, the running one counted (5)',
      parseCount('--task-history-limit'),
    )
    .option(
      '--dispatcher-heartbeat <duration>',
      'how often nodes say that they are alive (1s)',
      parseDuration('--dispatcher-heartbeat'),
    )
    .option('--force-new-cluster', 'start anew from the state on this host', false)
    .action(async (flags: Flags) => {
      const body: SwarmInitJson = {
        AdvertiseAddr: flags.advertiseAddr,
        ListenAddr: flags.listenAddr,
        DataPathAddr: flags.dataPathAddr,
        DataPathPort: flags.dataPathPort,
        DefaultAddrPool: flags.defaultAddrPool ?? [],
        SubnetSize: flags.defaultAddrPoolMaskLength,
        Availability: flags.availability,
        ForceNewCluster: flags.forceNewCluster,
        Spec: {
          Orchestration: { TaskHistoryRetentionLimit: flags.taskHistoryLimit },
          Dispatcher: { HeartbeatPeriod: flags.dispatcherHeartbeat },
        },
      };
      const nodeId = await cli.api.post<string>('/swarm/init', body);
      const swarm = await cli.api.get<SwarmJson>('/swarm');
      const info = await cli.api.get<InfoJson>('/info');
      const address = info.Swarm.RemoteManagers?.[0]?.Addr ?? '';

      cli.out.line(`Cluster initialized: current node (${nodeId}) is now a manager.\n`);
      cli.out.line('To add a worker to this cluster, run the following command on it:\n');
      cli.out.line(`    tsctl cluster join --token ${swarm.JoinTokens.Worker} ${address}\n`);
    });
};
