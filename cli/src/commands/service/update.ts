import type { NetworkJson, ServiceJson } from '@tessera/shared/docker-api';
import type { Cli, Verb } from '../../cli.js';
import { parseWords } from '../../output/parse.js';
import { awaitConverged } from './converge.js';
import { addListChangeFlags } from './list-flags.js';
import { addRefusedFlags } from './refused-flags.js';
import { addRegistryFlags, pinImage } from './registry-flags.js';
import { SpecDraft } from './spec-draft.js';
import { addSpecFlags } from './spec-flags.js';

interface Flags extends Record<string, unknown> {
  readonly image?: string;
  readonly args?: string;
  readonly force: boolean;
  readonly rollback: boolean;
  readonly detach: boolean;
  readonly quiet: boolean;
  readonly networkAdd?: string[];
  readonly networkRm?: string[];
  readonly withRegistryAuth: boolean;
  readonly resolveImage: boolean;
}

export const update: Verb = (noun, cli) => {
  const command = noun
    .command('update')
    .description("Change a service; its tasks are replaced as --update-* says, one at a time if it doesn't")
    .argument('<service>', 'name or id')
    .option('--image <image>', 'image to run')
    .option('--args <command>', "what replaces the image's command")
    .option('--force', 'replace all tasks even if nothing changes', false)
    .option('--rollback', 'go back to the spec before', false)
    .option('-d, --detach', 'do not wait until its tasks run', false)
    .option('-q, --quiet', 'no progress', false);
  addRegistryFlags(command);
  addRefusedFlags(command);
  const applyFlags = addSpecFlags(command);
  const applyLists = addListChangeFlags(command, () => cli.config.env);

  command.action(async (name: string, flags: Flags) => {
    const service = await cli.api.get<ServiceJson>(`/services/${encodeURIComponent(name)}`);
    const draft = new SpecDraft(service.Spec);
    applyFlags(draft, flags);
    applyLists(draft, { ...flags, ...(await resolveNetworks(cli, flags)) });
    if (flags.image !== undefined) {
      draft.container.Image = flags.image;
      // Those were of the image before.
      if (draft.task.Placement) delete draft.task.Placement.Platforms;
    }
    if (flags.args !== undefined) draft.container.Args = parseWords('--args')(flags.args);
    if (flags.force) draft.task.ForceUpdate = (draft.task.ForceUpdate ?? 0) + 1;

    const resolveImage = flags.resolveImage && flags.image !== undefined;
    const auth = await pinImage(cli, draft, { ...flags, resolveImage });
    await updateService(cli, service, draft.spec, flags.rollback, auth);
    cli.out.line(name);
    if (!flags.detach) await awaitConverged(cli, service.ID, name, { quiet: flags.quiet });
  });
};

/** Writes a spec that was made from `service`. */
export async function updateService(
  cli: Cli,
  service: ServiceJson,
  spec: ServiceJson['Spec'],
  rollback = false,
  registryAuth?: string,
): Promise<void> {
  await cli.api.call('POST', `/services/${service.ID}/update`, {
    query: { version: service.Version.Index, rollback: rollback ? 'previous' : undefined },
    body: spec,
    registryAuth,
  });
}

/** The spec has ids of networks; users write names. */
async function resolveNetworks(
  cli: Cli,
  { networkAdd, networkRm }: Flags,
): Promise<{ networkAdd?: string[]; networkRm?: string[] }> {
  const resolve = async (item: string) => {
    const name = item.includes('=') ? (/(?:^|,)name=([^,]+)/.exec(item)?.[1] ?? item) : item;
    const { Id } = await cli.api.get<NetworkJson>(`/networks/${encodeURIComponent(name)}`);
    return item.replace(name, Id);
  };
  return {
    ...(networkAdd ? { networkAdd: await Promise.all(networkAdd.map(resolve)) } : {}),
    ...(networkRm ? { networkRm: await Promise.all(networkRm.map(resolve)) } : {}),
  };
}
