import type { VolumeJson } from '@tessera/shared/docker-api';
import { many, type Verb } from '../../cli.js';
import { parseMap } from '../../output/parse.js';

interface Flags {
  readonly driver: string;
  readonly opt?: string[];
  readonly label?: string[];
}

export const create: Verb = (noun, cli) => {
  noun
    .command('create')
    .description('Create a volume; it gets its node with the first container that uses it')
    .argument('[volume]', 'its name; one is chosen if left out')
    .option('-d, --driver <driver>', 'local', 'local')
    .option('-o, --opt <option>', "the driver's option KEY=VALUE: type, device, o", many)
    .option('--label <label>', 'label KEY=VALUE', many)
    .action(async (name: string | undefined, flags: Flags) => {
      const { Name } = await cli.api.post<VolumeJson>('/volumes/create', {
        Name: name ?? '',
        Driver: flags.driver,
        DriverOpts: parseMap(flags.opt ?? []),
        Labels: parseMap(flags.label ?? []),
      });
      cli.out.line(Name);
    });
};
