// npm run lab: a lab on its own, for daily work. Usage: see HELP.
import { fork, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ClusterError, errorText, invalid, notFound } from '@tessera/shared/errors';
import { ask, type HostStatus } from './control.js';
import { hostEnvironment } from './host-environment.js';
import { LAB_PREFIX, LABS_DIR, labDir } from './paths.js';
import { sweepLab } from './sweep.js';
import { waitFor } from './wait.js';

const HELP = `Usage: npm run lab -- [--name NAME] COMMAND

  up [HOSTS]          start HOSTS hosts (3) and make them one cluster; --no-cluster leaves them single
  status              what is up
  exec HOST CMD...    run a command on a host; \`tsctl\` is on its PATH
  shell HOST          a shell on a host
  cut HOST            pull its cable            heal HOST   put it back, or switch a dead host on
  kill HOST           cut its power             start HOST  switch it on
  kill-agent HOST     kill -9 of tsd alone      start-agent HOST
  down                end it; nothing is left

Options: --name NAME (default "dev")  --cpus N (1)  --memory MiB (1024) of each host`;

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  // exec's own command keeps its options.
  const execAt = args.findIndex((arg) => arg === 'exec' || arg === 'shell');
  const ours = execAt < 0 ? args : args.slice(0, execAt + 2);
  const { values, positionals } = parseArgs({
    args: ours,
    allowPositionals: true,
    options: {
      name: { type: 'string', default: 'dev' },
      cpus: { type: 'string', default: '1' },
      memory: { type: 'string', default: '1024' },
      'no-cluster': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const [verb, operand] = positionals;
  if (values.help || !verb) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const name = values.name;
  switch (verb) {
    case 'up':
      return up(name, operand ?? '3', values.cpus, values.memory, !values['no-cluster']);
    case 'down':
      return down(name);
    case 'status':
      return status(name);
    case 'exec':
    case 'shell': {
      const argv = verb === 'shell' ? [process.env.SHELL ?? '/bin/bash'] : args.slice(execAt + 2);
      if (argv.length === 0)
        throw invalid('exec: name a host and a command: npm run lab exec host1 tsctl node ls');
      return enter(await hostStatus(name, operand), argv);
    }
    case 'cut':
    case 'heal':
    case 'kill':
    case 'start':
    case 'kill-agent':
    case 'start-agent':
      await ask(name, { verb, host: needHost(operand) });
      return 0;
    default:
      throw invalid(`unknown command '${verb}'\n${HELP}`);
  }
}

async function up(
  name: string,
  hosts: string,
  cpus: string,
  memoryMiB: string,
  cluster: boolean,
): Promise<number> {
  if (!/^([1-9]|[1-9]\d)$/.test(hosts)) throw invalid(`hosts '${hosts}': use a number from 1 to 99`);
  for (const [option, value] of Object.entries({ cpus, memory: memoryMiB }))
    if (!(Number(value) > 0)) throw invalid(`--${option} '${value}': use a number greater than 0`);
  await sweepLab(name);
  const logPath = `${LABS_DIR}/${LAB_PREFIX}${name}.log`;
  const log = openSync(logPath, 'w');
  const child = fork(
    fileURLToPath(new URL('./supervisor.js', import.meta.url)),
    [name, hosts, cpus, String(Number(memoryMiB) * 2 ** 20), String(cluster)],
    { stdio: ['ignore', log, log, 'ipc'], detached: true },
  );
  closeSync(log);
  const ready = await new Promise<boolean>((resolve) => {
    child.once('message', () => resolve(true));
    child.once('exit', () => resolve(false));
  });
  const said = readFileSync(logPath, 'utf8');
  rmSync(logPath);
  if (!ready) throw new ClusterError('internal', `the lab did not come up:\n${said}`);
  child.unref();
  await status(name);
  console.log(`\nTry: npm run lab ${name === 'dev' ? '' : `-- --name ${name} `}exec host1 tsctl node ls`);
  return 0;
}

async function down(name: string): Promise<number> {
  await sweepLab(name);
  if (!existsSync(labDir(name))) throw notFound('lab', name);
  await ask(name, { verb: 'down' });
  await waitFor('the lab to be gone', () => !existsSync(labDir(name)));
  return 0;
}

async function status(name: string): Promise<number> {
  if (!existsSync(labDir(name))) {
    const others = readdirSync(LABS_DIR).filter(
      (entry) => entry.startsWith(LAB_PREFIX) && !entry.endsWith('.log'),
    );
    console.log(
      `no lab named ${name} is up${others.length > 0 ? `; there are: ${others.map((o) => o.slice(LAB_PREFIX.length)).join(', ')}` : ''}`,
    );
    return 1;
  }
  const { hosts = [] } = await ask(name, { verb: 'status' });
  for (const host of hosts) {
    const state = host.pid === 0 ? 'off' : host.agent ? 'up' : 'up, no agent';
    console.log(
      `${host.name}\t${host.address}\t${state}\tdocker -H unix://${host.socket}\tlogs in ${host.dir}`,
    );
  }
  return 0;
}

function needHost(operand: string | undefined): string {
  if (!operand) throw invalid('name a host, such as host2');
  return operand;
}

async function hostStatus(name: string, operand: string | undefined): Promise<HostStatus> {
  const wanted = needHost(operand);
  const { hosts = [] } = await ask(name, { verb: 'status' });
  const host = hosts.find((candidate) => candidate.name === wanted);
  if (!host) throw notFound('host', wanted);
  if (host.pid === 0)
    throw new ClusterError('failedPrecondition', `${wanted} is off: npm run lab start ${wanted}`);
  return host;
}

function enter(host: HostStatus, argv: readonly string[]): Promise<number> {
  const child = spawn('nsenter', ['-t', String(host.pid), '-n', '-m', '-p', '-u', '-i', '--', ...argv], {
    stdio: 'inherit',
    env: hostEnvironment(),
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 128));
  });
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`lab: ${errorText(error)}`);
  process.exitCode = 1;
}
