import type { Verb } from '../../cli.js';
import { refuseTerminal, writeArchive } from '../../output/archive.js';

export const save: Verb = (noun, cli) => {
  noun
    .command('save')
    .description('Save images to an archive that "image load" and docker load take')
    .argument('<image...>', 'names or ids')
    .option('-o, --output <file>', 'where to; standard output when it is not given')
    .action(async (images: string[], { output }: { output?: string }) => {
      refuseTerminal(cli, output, 'tsctl image save app > app.tar');
      const response = await cli.api.stream('GET', '/images/get', { query: { names: images } });
      await writeArchive(cli, response, output);
    });
};
