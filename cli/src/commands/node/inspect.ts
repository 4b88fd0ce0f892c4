import type { NodeJson } from '@tessera/shared/docker-api';
import type { Verb } from '../../cli.js';
import { type InspectFlags, inspectEach } from '../../output/inspected.js';
import { prettyNode } from './pretty.js';

export const inspect: Verb = (noun, cli) => {
  noun
    .command('inspect')
    .description('Show nodes in full')
    .argument('<node...>', 'ids or names; self is the node of this API')
    .option('-f, --format <template>', 'json, or a Go template')
    .option('--pretty', 'in a form for people')
    .action((names: string[], flags: InspectFlags) =>
      inspectEach(
        cli,
        names,
        flags,
        (name) => cli.api.get<NodeJson>(`/nodes/${encodeURIComponent(name)}`),
        prettyNode,
      ),
    );
};
