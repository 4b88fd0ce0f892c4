import type { ServiceJson } from '@tessera/shared/docker-api';
import { forEachName, type Verb } from '../../cli.js';
import { CliError, EXIT_USAGE } from '../../cli-error.js';
import { awaitConverged } from './converge.js';
import { updateService } from './update.js';

export const scale: Verb = (noun, cli) => {
  noun
    .command('scale')
    .description('Set the number of tasks of services')
    .argument('<service=replicas...>', 'such as web=6')
    .option('-d, --detach', 'do not wait until they run', false)
    .action(async (pairs: string[], { detach }: { detach: boolean }) => {
      const wanted = pairs.map(parseScale);
      const scaled: { readonly id: string; readonly name: string }[] = [];
      const begun = forEachName(
        cli,
        wanted.map(([name]) => name),
        async (name) => {
          const replicas = wanted.find(([candidate]) => candidate === name)![1];
          const service = await cli.api.get<ServiceJson>(`/services/${encodeURIComponent(name)}`);
          if (!service.Spec.Mode?.Replicated) {
            throw new CliError(`${name}: scale can only be used with replicated mode`);
          }
          await updateService(cli, service, {
            ...service.Spec,
            Mode: { Replicated: { Replicas: replicas } },
          });
          cli.out.line(`${name} scaled to ${replicas}`);
          scaled.push({ id: service.ID, name });
        },
      );
      const failure = await begun.then(
        () => undefined,
        (error: unknown) => error,
      );
      // Those that could be scaled are waited for, whatever became of the others.
      for (const { id, name } of detach ? [] : scaled) await awaitConverged(cli, id, name, { quiet: false });
      if (failure) throw failure;
    });
};

function parseScale(pair: string): [name: string, replicas: number] {
  const found = /^(.+)=(\d{1,9})$/.exec(pair);
  if (!found)
    throw new CliError(
      `invalid scale specifier '${pair}': write SERVICE=REPLICAS, such as web=6`,
      EXIT_USAGE,
    );
  return [found[1]!, Number(found[2])];
}
