import type { Cli, Verb } from '../../cli.js';
import { ApiError, CliError } from '../../cli-error.js';
import { addRunFlags, createBody, type RunFlags } from './run-flags.js';
import { converse } from './session.js';

const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;
const DAEMON_FAILED = 125;

export const create: Verb = (noun, cli) => {
  addRunFlags(noun.command('create').description('Make a container without starting it')).action(
    async (image: string, words: string[], flags: RunFlags) => {
      cli.out.line(await make(cli, image, words, flags, false));
    },
  );
};

export const run: Verb = (noun, cli) => {
  addRunFlags(noun.command('run').description('Run a command in a new container'))
    .option('-d, --detach', 'do not wait for its end', false)
    .action(async (image: string, words: string[], flags: RunFlags) => {
      const id = await asRun(() => make(cli, image, words, flags, !flags.detach));
      if (flags.detach) {
        await asRun(() => cli.api.post(`/containers/${id}/start`));
        cli.out.line(id);
        return;
      }
      await attended(cli, id, flags);
    });
};

async function make(
  cli: Cli,
  image: string,
  words: readonly string[],
  flags: RunFlags,
  attach: boolean,
): Promise<string> {
  const body = createBody(image, words, flags, { attach, env: cli.config.env });
  return (await cli.api.post<{ Id: string }>('/containers/create', body, { name: flags.name })).Id;
}

/** Attached and waited for before it is started: nothing that it writes, nor its exit, is missed. */
async function attended(cli: Cli, id: string, flags: RunFlags): Promise<void> {
  const { api } = cli;
  const query = { stream: 1, stdin: flags.interactive ? 1 : 0, stdout: 1, stderr: 1 };
  const socket = await api.hijack(`/containers/${id}/attach`, { query });
  const condition = flags.rm ? 'removed' : 'next-exit';
  const wait = await api.stream('POST', `/containers/${id}/wait`, { query: { condition } });
  try {
    await asRun(() => api.post(`/containers/${id}/start`));
  } catch (error) {
    socket.destroy();
    wait.destroy();
    if (flags.rm) await api.delete(`/containers/${id}`, { force: true }).catch(() => {});
    throw error;
  }
  const resizePath = `/containers/${id}/resize`;
  await converse(cli, socket, { tty: flags.tty, stdin: flags.interactive, resizePath });
  const chunks: Buffer[] = [];
  for await (const chunk of wait) chunks.push(chunk as Buffer);
  const { StatusCode, Error: failure } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as {
    StatusCode: number;
    Error?: { Message: string } | null;
  };
  if (failure?.Message) throw new CliError(failure.Message, DAEMON_FAILED);
  if (StatusCode !== 0) throw new CliError('', StatusCode);
}

/** The exit codes of `docker run` where the container never ran. Source: docker/cli container/run.go. */
async function asRun<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { message } = error;
    if (/executable file not found|no such file or directory/.test(message))
      throw new CliError(`tsctl: ${message}`, NOT_FOUND);
    if (/permission denied|is a directory/.test(message))
      throw new CliError(`tsctl: ${message}`, NOT_EXECUTABLE);
    throw new CliError(`tsctl: ${message}`, DAEMON_FAILED);
  }
}
