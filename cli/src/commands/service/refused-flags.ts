import { type Command, Option } from 'commander';
import { CliError, EXIT_USAGE } from '../../cli-error.js';

/** Flags of docker's that cannot be honoured yet, and why. They are not in the help, and never passed over. */
const REFUSED: Readonly<Record<string, string>> = {
  '-p, --publish <port>': 'published ports are not supported yet',
  '--publish-add <port>': 'published ports are not supported yet',
  '--publish-rm <port>': 'published ports are not supported yet',
  '--secret <secret>': 'secrets are not supported yet',
  '--secret-add <secret>': 'secrets are not supported yet',
  '--secret-rm <secret>': 'secrets are not supported yet',
  '--config <config>': 'configs are not supported yet',
  '--config-add <config>': 'configs are not supported yet',
  '--config-rm <config>': 'configs are not supported yet',
  '--generic-resource <resource>': 'generic resources are not supported yet',
  '--generic-resource-add <resource>': 'generic resources are not supported yet',
  '--generic-resource-rm <resource>': 'generic resources are not supported yet',
  '--max-concurrent <number>': 'jobs are not supported yet',
  '--credential-spec <spec>': 'it is for Windows',
  '--isolation <mode>': 'it is for Windows',
};

/** Refuses them by name, with the reason, as soon as one is given. */
export function addRefusedFlags(command: Command): void {
  for (const [flags, why] of Object.entries(REFUSED)) {
    const option = new Option(flags).hideHelp().argParser(() => {
      throw new CliError(`${option.long}: ${why}; leave it out`, EXIT_USAGE);
    });
    command.addOption(option);
  }
}
