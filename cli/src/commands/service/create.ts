import type { ServiceSpecJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { badFlag } from '../../cli-error.js';
import { awaitConverged } from './converge.js';
import { addListFlags } from './list-flags.js';
import { addRefusedFlags } from './refused-flags.js';
import { addRegistryFlags, pinImage } from './registry-flags.js';
import { SpecDraft } from './spec-draft.js';
import { addSpecFlags } from './spec-flags.js';

interface Flags extends Record<string, unknown> {
  readonly name: string;
  readonly mode: string;
  readonly detach: boolean;
  readonly quiet: boolean;
  readonly withRegistryAuth: boolean;
  readonly resolveImage: boolean;
}

export const create: Verb = (noun, cli) => {
  const command = noun
    .command('create')
    .description('Create a service')
    .argument('<image>', 'the image its tasks run')
    .argument('[command...]', "replaces the image's command")
    .passThroughOptions()
    .option('--name <name>', 'name of the service; made up if left out', '')
    .option('--mode <mode>', 'replicated or global', 'replicated')
    .option('-d, --detach', 'do not wait until its tasks run', false)
    .option('-q, --quiet', 'no progress', false);
  addRegistryFlags(command);
  addRefusedFlags(command);
  const applyFlags = addSpecFlags(command);
  const applyLists = addListFlags(command, () => cli.config.env);

  command.action(async (image: string, args: string[], flags: Flags) => {
    const draft = new SpecDraft(newSpec(flags.name, flags.mode, image, args));
    applyFlags(draft, flags);
    applyLists(draft, flags);

    const auth = await pinImage(cli, draft, flags);
    const { ID } = await cli.api.call<{ ID: string }>('POST', '/services/create', {
      body: draft.spec,
      registryAuth: auth,
    });
    cli.out.line(ID);
    if (!flags.detach) await awaitConverged(cli, ID, ID, { quiet: flags.quiet });
  });
};

function newSpec(name: string, mode: string, image: string, args: readonly string[]): ServiceSpecJson {
  return {
    Name: name,
    TaskTemplate: { ContainerSpec: { Image: image, ...(args.length > 0 ? { Args: args } : {}) } },
    Mode: modeOf(mode),
  };
}

function modeOf(mode: string): NonNullable<ServiceSpecJson['Mode']> {
  switch (mode) {
    case 'replicated':
      return { Replicated: { Replicas: 1 } };
    case 'global':
      return { Global: {} };
    default:
      throw badFlag('--mode', mode, 'give replicated or global');
  }
}
