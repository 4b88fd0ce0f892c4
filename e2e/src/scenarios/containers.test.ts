import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LabCluster } from '../lab/cluster.js';
import { type CommandOptions, must, run } from '../lab/command.js';
import { Lab } from '../lab/lab.js';
import { waitFor } from '../lab/wait.js';

// The unchanged docker CLI against three hosts as one engine: containers that are no service's.

let lab: Lab;
let cluster: LabCluster;

beforeAll(async () => {
  lab = await Lab.up({ name: `ct${process.pid}` });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());

const command = (words: readonly string[]) => ['docker', '-H', `unix://${cluster.manager.socket}`, ...words];
const tryDocker = (words: readonly string[], options: CommandOptions = {}) =>
  run(command(words), { timeoutMs: 60_000, ...options });
const docker = async (...words: string[]) => (await must(command(words), { timeoutMs: 60_000 })).trimEnd();

test('docker run gives what the command wrote and how it ended, many at once, and --rm leaves nothing', async () => {
  const RUNS = 100;
  let next = 0;
  const results = new Map<number, { code: number; stdout: string; stderr: string }>();
  const lane = async () => {
    for (let i = next++; i < RUNS; i = next++)
      results.set(
        i,
        await tryDocker(['run', '--rm', 'busybox', 'sh', '-c', `echo out ${i}; echo err >&2; exit ${i}`]),
      );
  };
  await Promise.all(Array.from({ length: 16 }, lane));

  for (const [i, result] of results)
    expect(result).toEqual({ code: i, stdout: `out ${i}\n`, stderr: 'err\n' });
  expect(results.size).toBe(RUNS);
  await waitFor('the containers to be gone', async () => (await docker('ps', '-aq')) === '');
});

test.each([
  [['nosuch'], 127, 'executable file not found in $PATH'],
  [['/etc/passwd'], 126, 'permission denied'],
  [['/etc'], 126, 'is a directory'],
])('docker run busybox %s ends with %i', async (words, code, message) => {
  const result = await tryDocker(['run', '--rm', 'busybox', ...words]);

  expect(result.code).toBe(code);
  expect(result.stderr).toContain(message);
});

test('the end of its input reaches a container on another host, and what follows it comes back', async () => {
  const { code, stdout } = await tryDocker(
    ['run', '-i', '--rm', '-e', 'constraint:node==host3', 'busybox', 'sh', '-c', 'cat; hostname; echo done'],
    { input: 'first\n' },
  );

  expect(code).toBe(0);
  expect(stdout).toMatch(/^first\n[0-9a-f]{12}\ndone\n$/);
});

test('a container is found from everywhere, and lives on when the agent of its host is killed', async () => {
  const host = lab.hosts[1]!;
  const id = await docker(
    'run',
    '-d',
    '--name',
    'clock',
    '-e',
    'constraint:node==host2',
    'busybox',
    'sh',
    '-c',
    'i=0; while :; do echo tick $((i=i+1)); sleep 0.1; done',
  );
  const inspect = (format: string) => docker('inspect', '-f', format, 'host2/clock');
  expect(await inspect('{{.Id}} {{.Node.Name}} {{.State.Status}}')).toBe(`${id} host2 running`);
  expect(await docker('exec', 'clock', 'cat', '/proc/1/comm')).toBe('sh');
  expect((await tryDocker(['exec', 'clock', 'sh', '-c', 'exit 5'])).code).toBe(5);
  expect((await tryDocker(['run', '--name', 'clock', 'busybox'])).stderr).toContain(
    'The container name "/clock" is already in use by container',
  );
  const startedAt = await inspect('{{.State.StartedAt}}');

  await host.killAgent();
  await host.startAgent();
  await cluster.waitNode(host, 'ready');

  expect(await inspect('{{.State.Status}} {{.State.StartedAt}}')).toBe(`running ${startedAt}`);
  await waitFor('an exec', async () => (await tryDocker(['exec', 'clock', 'true'])).code === 0);
  const ticks = (await docker('logs', 'clock')).split('\n').map((line) => Number(line.split(' ')[1]));
  expect(ticks).toEqual(ticks.map((_, i) => i + 1));

  expect(await docker('stop', '-t', '0', 'clock')).toBe('clock');
  expect(await inspect('{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 137');
  expect(await docker('start', 'clock')).toBe('clock');
  expect(await inspect('{{.State.Status}}')).toBe('running');
  expect(await docker('rm', '-f', 'clock')).toBe('clock');
  expect((await tryDocker(['inspect', 'clock'])).stderr).toContain('No such object: clock');
});

test('files go into a container on another host and come out of it, running or not', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'ts-cp-'));
  try {
    await docker(
      'create',
      '--name',
      'files',
      '-e',
      'constraint:node==host3',
      'busybox',
      'sh',
      '-c',
      'cat /in/a > /out',
    );
    mkdirSync(join(dir, 'in'));
    writeFileSync(join(dir, 'in/a'), 'from outside\n');
    await docker('cp', join(dir, 'in'), 'files:/');
    await docker('start', '-a', 'files');
    await docker('cp', 'files:/out', join(dir, 'out'));
    expect(readFileSync(join(dir, 'out'), 'utf8')).toBe('from outside\n');
    expect(await docker('diff', 'files')).toBe('A /in\nA /in/a\nA /out');
    await docker('export', '-o', join(dir, 'all.tar'), 'files');
    expect((await must(['tar', '-tf', join(dir, 'all.tar')])).split('\n')).toContain('in/a');

    const missing = await tryDocker(['cp', 'files:/nowhere', dir]);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain('Could not find the file /nowhere in container files');
    await docker('rm', 'files');
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test('what a container has written becomes an image that every host can run', async () => {
  await docker(
    'run',
    '--name',
    'maker',
    '-e',
    'constraint:node==host2',
    'busybox',
    'sh',
    '-c',
    'echo made > /made; rm /etc/group',
  );
  const id = await docker('commit', '-m', 'why', '-a', 'who', '-c', 'CMD ["cat","/made"]', 'maker', 'made:1');
  for (const host of ['host1', 'host2', 'host3'])
    expect(await docker('run', '--rm', '-e', `constraint:node==${host}`, 'made:1')).toBe('made');
  expect((await tryDocker(['run', '--rm', 'made:1', 'test', '-e', '/etc/group'])).code).toBe(1);
  expect(await docker('image', 'inspect', '-f', '{{.Id}} {{.Author}}', 'made:1')).toBe(`${id} who`);
  expect(await docker('history', '--format', '{{.Comment}}', 'made:1')).toMatch(/^why\n?/);
  await docker('rm', 'maker');
  await docker('rmi', 'made:1');
});
