import { many, type Verb } from '../../cli.js';
import { CliError } from '../../cli-error.js';
import { converse } from './session.js';

interface Flags {
  readonly detach: boolean;
  readonly env?: string[];
  readonly interactive: boolean;
  readonly privileged: boolean;
  readonly tty: boolean;
  readonly user?: string;
  readonly workdir?: string;
}

export const exec: Verb = (noun, cli) => {
  noun
    .command('exec')
    .description('Run a command in a container that runs')
    .passThroughOptions()
    .argument('<container>', 'name or id')
    .argument('<command...>', 'what to run')
    .option('-d, --detach', 'do not wait for its end', false)
    .option('-e, --env <entry>', 'NAME=VALUE', many)
    .option('-i, --interactive', 'keep standard input open', false)
    .option('--privileged', 'all capabilities', false)
    .option('-t, --tty', 'a terminal', false)
    .option('-u, --user <user>', 'name or uid, perhaps with :GROUP')
    .option('-w, --workdir <directory>', 'working directory')
    .action(async (name: string, words: string[], flags: Flags) => {
      const { api } = cli;
      const { Id: id } = await api.post<{ Id: string }>(`/containers/${encodeURIComponent(name)}/exec`, {
        Cmd: words,
        Env: flags.env ?? [],
        User: flags.user ?? '',
        WorkingDir: flags.workdir ?? '',
        Tty: flags.tty,
        Privileged: flags.privileged,
        AttachStdin: flags.interactive && !flags.detach,
        AttachStdout: !flags.detach,
        AttachStderr: !flags.detach,
      });
      const body = { Detach: flags.detach, Tty: flags.tty };
      if (flags.detach) {
        await api.post(`/exec/${id}/start`, body);
        return;
      }
      const socket = await api.hijack(`/exec/${id}/start`, { body });
      await converse(cli, socket, {
        tty: flags.tty,
        stdin: flags.interactive,
        resizePath: `/exec/${id}/resize`,
      });
      const { ExitCode } = await api.get<{ ExitCode: number | null }>(`/exec/${id}/json`);
      if (ExitCode) throw new CliError('', ExitCode);
    });
};
