import type { Verb } from '../../cli.js';

export const tag: Verb = (noun, cli) => {
  noun
    .command('tag')
    .description('Give an image another name')
    .argument('<image>', 'name or id')
    .argument('<name>', 'the new name, NAME[:TAG]')
    .action(async (image: string, name: string) => {
      await cli.api.post(`/images/${image}/tag`, undefined, { repo: name });
    });
};
