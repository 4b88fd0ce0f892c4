import { ENGINE_VERSION } from '@tessera/shared/docker-api';
import { Command } from 'commander';
import type { Cli, Verb } from './cli.js';
import type { EndpointFlags } from './client/endpoint.js';
import type { Sinks } from './output/output.js';

/** A noun's verbs are loaded when the noun is used: a command starts no slower for the others. */
const NOUNS: readonly {
  readonly name: string;
  readonly description: string;
  readonly verbs: () => Promise<{ readonly verbs: readonly Verb[] }>;
}[] = [
  {
    name: 'cluster',
    description: 'Make, join, leave and inspect a cluster',
    verbs: () => import('./commands/cluster/index.js'),
  },
  { name: 'node', description: 'Manage nodes', verbs: () => import('./commands/node/index.js') },
  { name: 'service', description: 'Manage services', verbs: () => import('./commands/service/index.js') },
  { name: 'task', description: 'Look at tasks', verbs: () => import('./commands/task/index.js') },
  { name: 'network', description: 'Manage networks', verbs: () => import('./commands/network/index.js') },
  { name: 'volume', description: 'Manage volumes', verbs: () => import('./commands/volume/index.js') },
  {
    name: 'container',
    description: 'Manage containers',
    verbs: () => import('./commands/container/index.js'),
  },
  { name: 'image', description: 'Manage images', verbs: () => import('./commands/image/index.js') },
];

/** Verbs of containers that stand for themselves, as docker's do: `tsctl run` is `tsctl container run`. */
const AT_THE_TOP = new Set(
  'attach exec kill logs pause ps rename restart rm run start stop top unpause wait'.split(' '),
);

/**
 * The whole command line.
 *
 * @param cli made from the global flags when a command first needs it
 * @param words the arguments, from which the noun in use is told
 */
export async function createProgram(
  cli: (flags: EndpointFlags) => Cli,
  words: readonly string[],
  sinks: Sinks,
): Promise<Command> {
  const program = new Command('tsctl')
    .configureOutput({
      writeOut: (text) => void sinks.stdout.write(text),
      writeErr: (text) => void sinks.stderr.write(text),
    })
    .description('Tessera: many hosts, one engine')
    .version(ENGINE_VERSION, '-v, --version')
    .option('-H, --host <url>', 'where the API is: unix:///PATH or tcp://HOST:PORT (TSCTL_HOST)')
    .option('--tlscacert <file>', "the cluster's CA certificate, for tcp://")
    .option('--tlscert <file>', 'client certificate, for tcp://')
    .option('--tlskey <file>', 'key of the client certificate, for tcp://')
    .enablePositionalOptions()
    .showHelpAfterError('See "tsctl --help".')
    .exitOverride();
  const lazy = lazyCli(() => cli(program.opts<EndpointFlags>()));

  for (const { name, description, verbs } of NOUNS) {
    const noun = program.command(name).description(description).enablePositionalOptions();
    noun.helpCommand(false);
    if (!words.includes(name)) continue;
    const { verbs: list } = await verbs();
    for (const verb of list) verb(noun, lazy);
    noun.showHelpAfterError(`See "tsctl ${name} --help".`);
    for (const command of noun.commands) {
      command.showHelpAfterError(`See "tsctl ${name} ${command.name()} --help".`);
    }
  }
  const first = words.find((word) => AT_THE_TOP.has(word) || NOUNS.some(({ name }) => name === word));
  // Without any of these, what is there is shown.
  if (first === undefined || AT_THE_TOP.has(first)) {
    const { topVerbs } = await import('./commands/container/index.js');
    for (const verb of topVerbs) verb(program, lazy);
  }
  const { verbs } = await import('./commands/system/index.js');
  for (const verb of verbs) verb(program, lazy);
  return program;
}

/** Commands are registered before the flags are parsed, and the endpoint is known only after. */
function lazyCli(make: () => Cli): Cli {
  let made: Cli | undefined;
  const get = () => {
    made ??= make();
    return made;
  };
  return {
    get api() {
      return get().api;
    },
    get out() {
      return get().out;
    },
    get input() {
      return get().input;
    },
    get clock() {
      return get().clock;
    },
    get config() {
      return get().config;
    },
    get signal() {
      return get().signal;
    },
  };
}
