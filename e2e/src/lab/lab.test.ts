import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ended, run } from './command.js';
import { LabHost } from './host.js';
import { labCgroup, labDir, ROOT } from './paths.js';
import { Switch } from './switch.js';
import { waitFor } from './wait.js';

const name = `t${process.pid}`;
let wires: Switch;
let hosts: LabHost[];

beforeEach(async () => {
  mkdirSync(labDir(name), { recursive: true });
  wires = await Switch.up();
  hosts = [1, 2].map(
    (index) =>
      new LabHost({ lab: name, index, wires, capacity: { cpus: 1, memoryBytes: 2 ** 30 }, agentArgs: [] }),
  );
  await Promise.all(hosts.map((host) => host.powerOn()));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(hosts.map((host) => host.kill()));
  await wires.down();
  rmSync(labDir(name), { recursive: true, force: true });
});

const reaches = async (from: LabHost, address: string) =>
  (await from.exec(['ping', '-c1', '-W1', address])).code === 0;

test('what the user has set for a cluster of theirs does not lead out of the lab', async () => {
  vi.stubEnv('TSCTL_HOST', 'unix:///run/another.sock');
  vi.stubEnv('DOCKER_HOST', 'unix:///run/another.sock');

  const environment = await hosts[0]!.must(['env']);

  expect(environment).not.toContain('another.sock');
  expect(environment).toContain(`PATH=${ROOT}node_modules/.bin:`);
});

test('hosts have names, processes and a network of their own, and the cgroups of the machine', async () => {
  const [first, second] = hosts as [LabHost, LabHost];

  expect((await first.must(['hostname'])).trim()).toBe('host1');
  expect((await first.must(['sh', '-c', 'ls /proc | grep -c "^[0-9]*$"'])).trim().length).toBeLessThan(3);
  expect(await first.must(['ls', '/sys/fs/cgroup'])).toBe((await run(['ls', '/sys/fs/cgroup'])).stdout);
  expect((await first.must(['ls', '/sys/class/net'])).trim().split(/\s+/).sort()).toEqual(['eth0', 'lo']);
  expect(await reaches(first, second.address)).toBe(true);
  expect(await reaches(first, Switch.GATEWAY)).toBe(true);
});

test('a cut host is unreachable until it is healed', async () => {
  const [first, second] = hosts as [LabHost, LabHost];

  await second.cut();
  expect(await reaches(first, second.address)).toBe(false);

  await second.heal();
  await waitFor('the healed host to answer', () => reaches(first, second.address));
});

test('a killed host takes its processes with it and comes back empty-handed but for its data', async () => {
  const [first] = hosts as [LabHost];
  await first.must(['sh', '-c', `echo kept > ${first.dataDir}/file; echo gone > /run/tessera/file`]);
  const marker = `3${process.pid}`;
  const inside = spawn(...split(first.enterCommand(['sleep', marker])));
  await waitFor('sleep to run', async () => (await run(['pgrep', '-f', `sleep ${marker}`])).stdout !== '');

  await first.kill();
  await ended(inside);

  expect((await run(['pgrep', '-fx', `sleep ${marker}`])).stdout).toBe('');
  await first.powerOn();
  expect(readFileSync(`${first.dataDir}/file`, 'utf8')).toBe('kept\n');
  expect(existsSync(`${first.runDir}/file`)).toBe(false);
});

test('orphans of a host are reaped by its first process', async () => {
  const [first] = hosts as [LabHost];

  await first.must(['sh', '-c', '(sleep 0.01 &) ; exit 0']);

  await waitFor(
    'no zombie to be left',
    async () => !(await first.must(['ps', 'ax', '-o', 'stat='])).includes('Z'),
  );
});

test('the janitor removes cgroups, processes in them and files once its pipe is closed', async () => {
  const lab = `${name}j`;
  const group = `/sys/fs/cgroup/pids/${labCgroup(lab)}/host1/deep`;
  mkdirSync(labDir(lab));
  mkdirSync(group, { recursive: true });
  const victim = spawn('sleep', ['1000']);
  await run(['sh', '-c', `echo ${victim.pid} > ${group}/cgroup.procs`]);
  const janitor = spawn(`${ROOT}e2e/lab/janitor.sh`, [labDir(lab), labCgroup(lab)], {
    stdio: ['pipe', 'ignore', 'ignore'],
  });

  janitor.stdin?.end();
  await ended(janitor);

  await ended(victim);
  expect(existsSync(`/sys/fs/cgroup/pids/${labCgroup(lab)}`)).toBe(false);
  expect(existsSync(labDir(lab))).toBe(false);
});

const split = (argv: readonly string[]): [string, string[]] => [argv[0]!, argv.slice(1)];
