import { ENGINE_VERSION } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';

export const version: Verb = (program, cli) => {
  program
    .command('version')
    .description('Show the version of tsctl and of the API')
    .action(async () => {
      cli.out.line(`tsctl ${ENGINE_VERSION}`);
      const found = await cli.api.get<{ Version: string; ApiVersion: string; KernelVersion: string }>(
        '/version',
      );
      cli.out.line(`server ${found.Version}, API ${found.ApiVersion}, kernel ${found.KernelVersion}`);
    });
};
