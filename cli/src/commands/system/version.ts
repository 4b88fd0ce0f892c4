import { ENGINE_VERSION } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { printInspected } from '../../output/inspected.js';

export const version: Verb = (program, cli) => {
  program
    .command('version')
    .description('Show the version of tsctl and of the API')
    .option('-f, --format <template>', 'json, or a Go template')
    .action(async ({ format }: { format?: string }) => {
      if (format) {
        const server = await cli.api.get<object>('/version');
        printInspected(cli.out, [{ Client: { Version: ENGINE_VERSION }, Server: server }], format);
        return;
      }
      cli.out.line(`tsctl ${ENGINE_VERSION}`);
      const found = await cli.api.get<{ Version: string; ApiVersion: string; KernelVersion: string }>(
        '/version',
      );
      cli.out.line(`server ${found.Version}, API ${found.ApiVersion}, kernel ${found.KernelVersion}`);
    });
};
