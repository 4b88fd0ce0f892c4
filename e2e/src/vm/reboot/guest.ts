// Runs in the machine, at each of its boots: does and checks what the boot's phase is for, says how that went on the
// console, and ends the boot. `host.ts` boots it; `phases.ts` says which phase does what.
import { deepStrictEqual, ok } from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { errorText } from '@tessera/shared/errors';
import { must, run } from '../../lab/command.js';
import { TSCTL } from '../../lab/paths.js';
import { waitFor } from '../../lab/wait.js';
import { engine, type Inspected } from './engine.js';
import { PHASES, type Phase } from './phases.js';

const SLEEP = ['sleep', '1000000'];
const UNIT = '/etc/systemd/system/tessera.service';
const say = (line: string) => process.stdout.write(`${line}\n`);

/** One fact; its failure ends the phase. */
async function fact(what: string, check: () => unknown): Promise<void> {
  await check();
  say(`ok - ${what}`);
}

const systemctl = (...words: string[]) => must(['systemctl', ...words], { timeoutMs: 300_000 });
const tsctl = (...words: string[]) => must(['node', TSCTL, ...words], { timeoutMs: 900_000 });
const status = async (name: string) => (await engine.inspect(name))?.State.Status;

/** What must not change while a container only goes on. */
async function lifeOf(name: string): Promise<[number, string]> {
  const { State } = (await engine.inspect(name)) as Inspected;
  return [State.Pid, State.StartedAt];
}

/** Whether a web server answers there. Not by `fetch`, which needs WebAssembly. */
const answers = (url: string): Promise<boolean> =>
  new Promise((resolve) => {
    get(url, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    }).on('error', () => resolve(false));
  });

async function deploy(): Promise<void> {
  copyFileSync('/opt/tessera/deploy/systemd/tessera.service', UNIT);
  // An emulated processor that others have a part in takes minutes to start a manager and its etcd.
  writeFileSync('/etc/default/tessera', 'TESSERA_ENTER_TIMEOUT=900\n');
  await systemctl('daemon-reload');
  await systemctl('enable', '--now', 'tessera.service');
  await waitFor('the daemon', () => existsSync('/run/tessera/tsd.sock'), engine.patience);
  await tsctl('cluster', 'init', '--advertise-addr', '10.99.0.1');
  await engine.ready();
  await tsctl('image', 'load', '-i', '/repo/.cache/vm/busybox.tar');

  const count = ['sh', '-c', 'i=0; while :; do echo $((i=i+1)); sleep 0.5; done'];
  const serve = ['httpd', '-f', '-p', '80', '-h', '/www'];
  await engine.run('never', { command: SLEEP });
  await engine.run('always', { command: count, policy: 'always' });
  await engine.run('unless', { command: SLEEP, policy: 'unless-stopped' });
  await engine.run('on-failure', { command: SLEEP, policy: 'on-failure', retries: 5 });
  await engine.run('always-stopped', { command: SLEEP, policy: 'always' });
  await engine.run('unless-stopped', { command: SLEEP, policy: 'unless-stopped' });
  await engine.run('always-paused', { command: SLEEP, policy: 'always' });
  await engine.run('web', { command: serve, policy: 'always', port: 8080 });
  await engine.run('rm', { command: SLEEP, autoRemove: true });
  await engine.run('done', { command: ['sh', '-c', 'exit 3'] });
  await engine.create('created', { command: SLEEP, policy: 'always' });
  for (const name of ['always-stopped', 'unless-stopped']) await engine.verb(name, 'stop?t=0');
  await engine.verb('always-paused', 'pause');
  await engine.becomes('done', 'exited');

  const running = ['never', 'always', 'unless', 'on-failure', 'always-paused', 'web', 'rm'];
  const before = await Promise.all(running.map(lifeOf));
  const unchanged = async () => {
    await engine.ready();
    // What manager and store remember says nothing of the agent: once it serves streams, it has adopted what is there.
    await engine.logs('always');
    deepStrictEqual(await Promise.all(running.map(lifeOf)), before);
  };
  const mainPid = async () => Number(await systemctl('show', '-p', 'MainPID', '--value', 'tessera.service'));
  await fact('restarting the unit touches no container', async () => {
    const first = await mainPid();
    await systemctl('restart', 'tessera.service');
    ok((await mainPid()) !== first);
    await unchanged();
  });
  await fact(
    'a daemon that is killed is started again by the service manager, and touches no container',
    async () => {
      const first = await mainPid();
      process.kill(first, 'SIGKILL');
      await waitFor('another daemon', async () => ![0, first].includes(await mainPid()), engine.patience);
      await unchanged();
    },
  );
  await fact('a daemon that is stopped for a while has lost no line of a log', async () => {
    await systemctl('stop', 'tessera.service');
    await systemctl('start', 'tessera.service');
    await unchanged();
    const last = (await engine.logs('always')).trim().split('\n').length;
    await waitFor(
      'more lines',
      async () => (await engine.logs('always')).trim().split('\n').length > last + 2,
      engine.patience,
    );
    const lines = (await engine.logs('always')).trim().split('\n').map(Number);
    deepStrictEqual(
      lines,
      lines.map((_, i) => i + 1),
    );
  });
  await fact('a command runs in a container that three daemons have had', async () => {
    deepStrictEqual(await tsctl('exec', 'never', 'cat', '/proc/1/comm'), 'sleep\n');
  });
}

/** What holds after any boot of a host on which all of these had been started, some of them stopped by the user. */
async function assertBooted(): Promise<void> {
  await engine.ready();
  for (const name of ['always', 'unless', 'on-failure', 'web', 'always-paused', 'always-stopped'])
    await fact(`${name} runs again`, () => engine.becomes(name, 'running'));
  await fact('what has no restart policy ended with its host', async () => {
    const { State } = await engine.becomes('never', 'exited');
    deepStrictEqual(State.ExitCode, 255);
  });
  await fact('what the user had stopped stays so unless its policy is "always"', async () => {
    deepStrictEqual(await status('unless-stopped'), 'exited');
  });
  await fact('what had ended, or never begun, is as it was', async () => {
    deepStrictEqual((await engine.inspect('done'))?.State.ExitCode, 3);
    deepStrictEqual(await status('created'), 'created');
  });
  await fact('what was to be removed at its end is gone', () => engine.vanishes('rm'));
  await fact('a published port leads to its container again', () =>
    waitFor('an answer', () => answers('http://10.99.0.1:8080/'), engine.patience),
  );
  await fact('nothing of the former boot lies about', () => {
    const shims = processes('ts-shim').length;
    deepStrictEqual(groups().length, shims);
    deepStrictEqual(readdirSync('/run/tessera/containers').length >= shims, true);
  });
  await fact('a container that ended with its host can be started again', async () => {
    await engine.verb('never', 'start');
    deepStrictEqual(await status('never'), 'running');
  });
}

async function reboot(): Promise<void> {
  await assertBooted();
  await engine.run('rm', { command: SLEEP, autoRemove: true });
  await engine.verb('always-stopped', 'stop?t=0');
  await engine.verb('always-paused', 'pause');
  // The last that happens before the power goes: nothing but what was synced for it is on the disk.
  await engine.run('late', { command: SLEEP, policy: 'always' });
}

async function powerCut(): Promise<void> {
  await assertBooted();
  await fact('what was started a moment before the power went runs again', () =>
    engine.becomes('late', 'running'),
  );
  await tsctl('cluster', 'leave', '--force');
  await fact('a host that has left its cluster has nothing of it left', async () => {
    await waitFor('no process', () => processes('ts-shim').length === 0, engine.patience);
    await waitFor('no group', () => groups().length === 0, engine.patience);
    const overlays = () =>
      readFileSync('/proc/mounts', 'utf8').match(/ \/var\/lib\/tessera\S* overlay /g) ?? [];
    await waitFor('no mount', () => overlays().length === 0, engine.patience);
  });
}

/** Pids of the processes of one program. */
function processes(comm: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === comm;
      } catch {
        return false; // it has ended since
      }
    });
}

/** The cgroups of containers. */
function groups(): string[] {
  const parent = '/sys/fs/cgroup/tessera/containers';
  if (!existsSync(parent)) return [];
  return readdirSync(parent, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
}

const WORK: Readonly<Record<Phase, () => Promise<void>>> = { deploy, reboot, 'power-cut': powerCut };
/** How each boot ends once its work is done. */
const ENDING: Readonly<Record<Phase, readonly string[]>> = {
  deploy: ['systemctl', 'reboot'],
  reboot: ['echo', 'LAB-CUT-POWER'],
  'power-cut': ['systemctl', 'poweroff'],
};

const asked = /\blab\.phase=(\S+)/.exec(readFileSync('/proc/cmdline', 'utf8'))?.[1];
const phase = PHASES.find((one) => one === asked);
let code = 0;
try {
  if (!phase) throw new Error(`there is no phase '${asked}'`);
  say(`# ${phase}`);
  await WORK[phase]();
} catch (error) {
  code = 1;
  say((await run(['journalctl', '-u', 'tessera.service', '--no-pager', '-n', '60', '-o', 'cat'])).stdout);
  // Last, where it is seen.
  say(`not ok - ${phase}: ${errorText(error)}`);
}
say(`LAB-EXIT ${code}`);
const [file, ...words] = code === 0 && phase ? ENDING[phase] : ['systemctl', 'poweroff'];
say((await run([file as string, ...words])).stdout);
