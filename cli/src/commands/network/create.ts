import type { NetworkCreateJson } from '@tessera/shared/docker-api';
import { many, type Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';
import { parseMap } from '../../output/parse.js';

interface Flags {
  readonly driver: string;
  readonly subnet?: string[];
  readonly gateway?: string[];
  readonly ipRange?: string[];
  readonly opt?: string[];
  readonly label?: string[];
  readonly attachable?: boolean;
  readonly internal?: boolean;
}

export const create: Verb = (noun, cli) => {
  noun
    .command('create')
    .description('Create a network')
    .argument('<network>', 'its name')
    .option('-d, --driver <driver>', 'overlay', 'overlay')
    .option('--subnet <cidr>', 'subnet such as 10.3.0.0/24; chosen for you if left out', many)
    .option('--gateway <address>', "the subnet's gateway", many)
    .option('--ip-range <cidr>', 'part of the subnet to hand addresses out from', many)
    .option('-o, --opt <option>', "the driver's option KEY=VALUE", many)
    .option('--label <label>', 'label KEY=VALUE', many)
    .option('--attachable', 'let containers attach that are no tasks')
    .option('--internal', 'no way to the outside')
    .action(async (name: string, flags: Flags) => {
      const subnets = flags.subnet?.length ?? 0;
      if ((flags.gateway?.length ?? 0) > subnets || (flags.ipRange?.length ?? 0) > subnets) {
        throw new CliError(
          'every --ip-range or --gateway must have a corresponding --subnet, in the same order',
          EXIT_USAGE,
        );
      }
      const body: NetworkCreateJson = {
        Name: name,
        Driver: flags.driver,
        Internal: flags.internal ?? false,
        Attachable: flags.attachable ?? false,
        IPAM: {
          Driver: 'default',
          Config: (flags.subnet ?? []).map((Subnet, index) => ({
            Subnet,
            Gateway: flags.gateway?.[index] ?? '',
            IPRange: flags.ipRange?.[index] ?? '',
          })),
        },
        Options: parseMap(flags.opt ?? []),
        Labels: parseMap(flags.label ?? []),
      };
      const { Id } = await cli.api.post<{ Id: string }>('/networks/create', body);
      cli.out.line(Id);
    });
};
