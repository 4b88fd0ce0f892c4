import type { Verb } from '../../cli.js';
import { CliError } from '../../cli-error.js';
import { converse } from './session.js';

interface Inspected {
  readonly Id: string;
  readonly State: { readonly Running: boolean; readonly Paused: boolean; readonly ExitCode: number };
  readonly Config: { readonly Tty: boolean; readonly OpenStdin: boolean };
}

export const attach: Verb = (noun, cli) => {
  noun
    .command('attach')
    .description('Join the terminal with a container that runs')
    .argument('<container>', 'name or id')
    .option('--detach-keys <keys>', 'keys that leave a terminal', 'ctrl-p,ctrl-q')
    .option('--no-stdin', 'do not send what is typed')
    .action(async (name: string, flags: { readonly detachKeys: string; readonly stdin: boolean }) => {
      const { api } = cli;
      const path = `/containers/${encodeURIComponent(name)}`;
      const { Id: id, State: state, Config: config } = await api.get<Inspected>(`${path}/json`);
      if (!state.Running) throw new CliError('You cannot attach to a stopped container, start it first');
      if (state.Paused) throw new CliError('You cannot attach to a paused container, unpause it first');
      const stdin = flags.stdin && config.OpenStdin;
      const query = { stream: 1, stdin: stdin ? 1 : 0, stdout: 1, stderr: 1, detachKeys: flags.detachKeys };
      const socket = await api.hijack(`/containers/${id}/attach`, { query });
      await converse(cli, socket, { tty: config.Tty, stdin, resizePath: `/containers/${id}/resize` });
      const { State: after } = await api
        .get<Inspected>(`/containers/${id}/json`)
        .catch(() => ({ State: state }));
      if (!after.Running && after.ExitCode !== 0) throw new CliError('', after.ExitCode);
    });
};
