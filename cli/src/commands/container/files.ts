import { many, type Verb } from '../../cli.js';
import { refuseTerminal, writeArchive } from '../../output/archive.js';

const KINDS = ['C', 'A', 'D'];

export const diff: Verb = (noun, cli) => {
  noun
    .command('diff')
    .description('List what a container has changed of its image: added (A), changed (C), deleted (D)')
    .argument('<container>', 'name or id')
    .action(async (name: string) => {
      const path = `/containers/${encodeURIComponent(name)}/changes`;
      const changes = await cli.api.get<readonly { Path: string; Kind: number }[] | null>(path);
      for (const { Kind, Path } of changes ?? []) cli.out.line(`${KINDS[Kind] ?? '?'} ${Path}`);
    });
};

export const exportFiles: Verb = (noun, cli) => {
  noun
    .command('export')
    .description("Write a container's files to an archive")
    .argument('<container>', 'name or id')
    .option('-o, --output <file>', 'where to; standard output when it is not given')
    .action(async (name: string, { output }: { output?: string }) => {
      refuseTerminal(cli, output, 'tsctl export web > web.tar');
      const response = await cli.api.stream('GET', `/containers/${encodeURIComponent(name)}/export`);
      await writeArchive(cli, response, output);
    });
};

interface CommitFlags {
  readonly author?: string;
  readonly message?: string;
  readonly change: readonly string[];
  readonly pause: boolean;
}

export const commit: Verb = (noun, cli) => {
  noun
    .command('commit')
    .description('Make an image of what a container has written')
    .argument('<container>', 'name or id')
    .argument('[image]', 'what it is to be called')
    .option('-a, --author <author>', 'who made it')
    .option('-c, --change <instruction>', 'an instruction of a Dockerfile, such as CMD', many, [])
    .option('-m, --message <text>', 'what for')
    .option('--no-pause', 'let the container go on while it is read')
    .action(async (container: string, image: string | undefined, flags: CommitFlags) => {
      const { author, message, change, pause } = flags;
      const query = {
        container,
        repo: image,
        author,
        comment: message,
        changes: change,
        pause: pause ? 1 : 0,
      };
      const { Id } = await cli.api.post<{ Id: string }>('/commit', undefined, query);
      cli.out.line(Id);
    });
};
