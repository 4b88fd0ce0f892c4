import type { NodeJson, NodeSpecJson } from '@tessera/shared/docker-api';
import { many, type Verb } from '../../cli.js';
import { CliError } from '../../cli-error.js';
import { parseMap } from '../../output/parse.js';

interface Flags {
  readonly availability?: string;
  readonly role?: string;
  readonly labelAdd?: string[];
  readonly labelRm?: string[];
}

export const update: Verb = (noun, cli) => {
  noun
    .command('update')
    .description("Change a node's labels, availability or role")
    .argument('<node>', 'id or name')
    .option('--availability <state>', 'active, pause or drain')
    .option('--role <role>', 'worker or manager')
    .option('--label-add <label>', 'add or replace a label (KEY=VALUE)', many)
    .option('--label-rm <key>', 'take a label away', many)
    .action(async (name: string, flags: Flags) => {
      const node = await cli.api.get<NodeJson>(`/nodes/${encodeURIComponent(name)}`);
      const labels = { ...node.Spec.Labels, ...parseMap(flags.labelAdd ?? []) };
      for (const key of flags.labelRm ?? []) {
        if (!Object.hasOwn(labels, key)) throw new CliError(`key ${key} doesn't exist in node's labels`);
        delete labels[key];
      }
      const spec: NodeSpecJson = {
        ...node.Spec,
        Labels: labels,
        Availability: flags.availability ?? node.Spec.Availability,
        Role: flags.role ?? node.Spec.Role,
      };
      await cli.api.post(`/nodes/${node.ID}/update`, spec, { version: node.Version.Index });
      cli.out.line(name);
    });
};
