import type { Command } from 'commander';
import { many } from '../../cli.js';
import { badFlag } from '../../cli-error.js';
import { parseBytes, parseCpus } from '../../output/parse.js';

export interface RunFlags {
  readonly attach?: string[];
  readonly capAdd?: string[];
  readonly capDrop?: string[];
  readonly cpus?: string;
  readonly detach: boolean;
  readonly entrypoint?: string;
  readonly env?: string[];
  readonly hostname?: string;
  readonly init: boolean;
  readonly interactive: boolean;
  readonly label?: string[];
  readonly memory?: string;
  readonly name?: string;
  readonly network?: string;
  readonly privileged: boolean;
  readonly publish?: string[];
  readonly readOnly: boolean;
  readonly restart?: string;
  readonly rm: boolean;
  readonly tmpfs?: string[];
  readonly tty: boolean;
  readonly user?: string;
  readonly volume?: string[];
  readonly workdir?: string;
}

/** Flags named and meant as docker's. */
export const addRunFlags = (command: Command): Command =>
  command
    .passThroughOptions()
    .argument('<image>', 'name of an image')
    .argument('[command...]', 'what to run instead of what the image says')
    .option('--cap-add <capability>', 'give a capability', many)
    .option('--cap-drop <capability>', 'take a capability', many)
    .option('--cpus <number>', 'how many CPUs at most')
    .option('--entrypoint <program>', "replaces the image's entrypoint")
    .option('-e, --env <entry>', 'NAME=VALUE, or constraint:node==HOST', many)
    .option('-h, --hostname <name>', "the container's host name")
    .option('--init', 'an init process', false)
    .option('-i, --interactive', 'keep standard input open', false)
    .option('-l, --label <label>', 'NAME=VALUE', many)
    .option('-m, --memory <bytes>', 'at most so much memory: 64m')
    .option('--name <name>', "the container's name")
    .option('--network <network>', 'bridge, none, host, or a network of the cluster')
    .option('--privileged', 'all capabilities and devices', false)
    .option('-p, --publish <port>', '[IP:][HOST PORT:]PORT[/PROTOCOL]', many)
    .option('--read-only', 'a root file system that cannot be written to', false)
    .option('--restart <policy>', 'no, always, unless-stopped, on-failure[:MAX]')
    .option('--rm', 'remove the container when it has ended', false)
    .option('--tmpfs <target>', 'TARGET[:OPTIONS]', many)
    .option('-t, --tty', 'a terminal', false)
    .option('-u, --user <user>', 'name or uid, perhaps with :GROUP')
    .option('-v, --volume <bind>', 'SOURCE:TARGET[:ro]', many)
    .option('-w, --workdir <directory>', 'working directory');

/** The body of `POST /containers/create`. */
export function createBody(
  image: string,
  words: readonly string[],
  flags: RunFlags,
  { attach, env }: { readonly attach: boolean; readonly env: Readonly<NodeJS.ProcessEnv> },
): object {
  const ports = (flags.publish ?? []).map(parsePublish);
  return {
    Image: image,
    Cmd: words,
    ...(flags.entrypoint === undefined ? {} : { Entrypoint: [flags.entrypoint] }),
    Env: (flags.env ?? []).flatMap((entry) => fromHere(entry, env)),
    Labels: Object.fromEntries((flags.label ?? []).map((label) => splitAt(label, '='))),
    Hostname: flags.hostname ?? '',
    User: flags.user ?? '',
    WorkingDir: flags.workdir ?? '',
    Tty: flags.tty,
    OpenStdin: flags.interactive,
    StdinOnce: flags.interactive && attach,
    AttachStdin: flags.interactive && attach,
    AttachStdout: attach,
    AttachStderr: attach,
    ExposedPorts: Object.fromEntries(ports.map(({ port }) => [port, {}])),
    HostConfig: {
      AutoRemove: flags.rm,
      Binds: flags.volume ?? [],
      CapAdd: flags.capAdd ?? [],
      CapDrop: flags.capDrop ?? [],
      Init: flags.init,
      Memory: flags.memory ? parseBytes('--memory')(flags.memory) : 0,
      NanoCpus: flags.cpus ? parseCpus('--cpus')(flags.cpus) : 0,
      NetworkMode: flags.network ?? 'default',
      PortBindings: Object.fromEntries(ports.map(({ port, binding }) => [port, [binding]])),
      Privileged: flags.privileged,
      ReadonlyRootfs: flags.readOnly,
      RestartPolicy: parseRestart(flags.restart ?? 'no'),
      Tmpfs: Object.fromEntries((flags.tmpfs ?? []).map((text) => splitAt(text, ':'))),
    },
  };
}

function splitAt(text: string, mark: string): [string, string] {
  const at = text.indexOf(mark);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

/** A name alone means this process's own value, and nothing where there is none. */
function fromHere(entry: string, env: Readonly<NodeJS.ProcessEnv>): string[] {
  if (entry.includes('=')) return [entry];
  const value = env[entry];
  return value === undefined ? [] : [`${entry}=${value}`];
}

function parsePublish(text: string) {
  const [, hostIp = '', hostPort = '', port, protocol = 'tcp'] =
    /^(?:(?:\[?([0-9a-fA-F.:]+?)\]?:)?(\d*):)?(\d+)(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  if (port === undefined) throw badFlag('--publish', text, 'write [IP:][HOST PORT:]PORT[/PROTOCOL]');
  return { port: `${port}/${protocol}`, binding: { HostIp: hostIp, HostPort: hostPort } };
}

function parseRestart(text: string): object {
  const [Name, max] = splitAt(text, ':');
  if (max !== '' && !/^\d+$/.test(max)) throw badFlag('--restart', text, 'write on-failure:3');
  return { Name, MaximumRetryCount: Number(max) };
}
