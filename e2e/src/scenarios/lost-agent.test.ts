import { readdirSync } from 'node:fs';
import { makeLayer } from '@tessera/agent/image/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startClient, startStalledClient } from '../lab/client.js';
import { LabCluster } from '../lab/cluster.js';
import { type CommandOptions, must, run } from '../lab/command.js';
import type { LabHost } from '../lab/host.js';
import { Lab } from '../lab/lab.js';
import { pidsOf } from '../lab/processes.js';
import { waitFor } from '../lab/wait.js';
import { volumeScenarios } from './volumes-suite.js';

// kill -9 of a host's agent under whatever a client is doing: the client hears of it, the container does not.

let lab: Lab;
let cluster: LabCluster;
let host: LabHost;

beforeAll(async () => {
  lab = await Lab.up({ name: `la${process.pid}`, hosts: 2 });
  cluster = await LabCluster.form(lab);
  host = lab.hosts[1]!;
});
afterAll(() => lab?.down());

const command = (words: readonly string[]) => ['docker', '-H', `unix://${cluster.manager.socket}`, ...words];
const tryDocker = (words: readonly string[], options: CommandOptions = {}) =>
  run(command(words), { timeoutMs: 90_000, ...options });
const docker = async (...words: string[]) => (await must(command(words), { timeoutMs: 90_000 })).trimEnd();
const onHost = ['-e', 'constraint:node==host2'];

async function killAndRestart(): Promise<void> {
  await host.killAgent();
  await host.startAgent();
  await cluster.waitNode(host, 'ready');
}

test('a followed log, an attached client and an exec hear of it; their processes do not, and the commands work again', async () => {
  const script = 'i=0; while read line; do echo "$((i=i+1)) $line"; done';
  await docker('run', '-d', '-i', '--name', 'reader', ...onHost, 'busybox', 'sh', '-c', script);
  let followed = '';
  const onStdout = (text: string) => {
    followed += text;
  };
  const follow = tryDocker(['logs', '-f', 'reader'], { onStdout });
  const attached = tryDocker(['attach', '--no-stdin', 'reader']);
  const exec = tryDocker([
    'exec',
    'reader',
    'sh',
    '-c',
    'touch /begun; while [ ! -e /go ]; do sleep 0.1; done; exit 6',
  ]);
  await waitFor(
    'the exec to run',
    async () => (await tryDocker(['exec', 'reader', 'test', '-e', '/begun'])).code === 0,
  );

  await host.killAgent();
  // None of them hangs: an attached client and an exec are told, while the agent is still away.
  expect((await attached).code).not.toBe(0);
  expect((await exec).code).not.toBe(0);
  await host.startAgent();
  await cluster.waitNode(host, 'ready');

  // Its stdin is still open, for whoever attaches next.
  const again = tryDocker(['attach', '--sig-proxy=false', 'reader'], { input: 'hello\n' });
  await waitFor('its answer', async () => (await docker('logs', 'reader')).includes('1 hello'));
  expect(await docker('inspect', '-f', '{{.State.Status}}', 'reader')).toBe('running');
  // The exec that lost its client goes on, and ends when it may.
  expect(await docker('top', 'reader', '-o', 'args')).toContain('while [ ! -e /go ]');
  await docker('exec', 'reader', 'touch', '/go');
  await waitFor('its end', async () => !(await docker('top', 'reader', '-o', 'args')).includes('/begun'));
  // A log that is followed is taken up again by itself.
  await waitFor('the followed log', () => followed.includes('1 hello'));
  await docker('rm', '-f', 'reader');
  expect((await follow).code).toBe(0);
  expect((await again).stdout).toContain('1 hello');
});

test('the exit code of an exec is known to the next agent', async () => {
  await docker('run', '-d', '--name', 'execs', ...onHost, 'busybox', 'sleep', '1000');
  const { Id } = await cluster.post<{ Id: string }>('/containers/execs/exec', {
    Cmd: ['sh', '-c', 'touch /begun; while [ ! -e /go ]; do sleep 0.1; done; exit 6'],
  });
  await cluster.post(`/exec/${Id}/start`, { Detach: true });
  await waitFor(
    'it to run',
    async () => (await tryDocker(['exec', 'execs', 'test', '-e', '/begun'])).code === 0,
  );
  const inspect = () => cluster.get<{ Running: boolean; ExitCode: number | null }>(`/exec/${Id}/json`);
  expect(await inspect()).toMatchObject({ Running: true, ExitCode: null });

  await killAndRestart();

  // Its node counts as ready all the while; it is asked again until its agent has a session.
  expect(await waitFor('the next agent', inspect)).toMatchObject({ Running: true, ExitCode: null });
  await docker('exec', 'execs', 'touch', '/go');
  await waitFor('its end', async () => !(await inspect()).Running);
  expect((await inspect()).ExitCode).toBe(6);
  await docker('rm', '-f', 'execs');
});

test('docker run in the foreground says so, and the container it began is found, ends and is removed', async () => {
  const words = ['run', '--rm', '--name', 'work', ...onHost, 'busybox', 'sh', '-c'];
  const running = tryDocker([...words, 'echo begun; while [ ! -e /go ]; do sleep 0.1; done; echo done']);
  await waitFor('it to run', async () => (await tryDocker(['logs', 'work'])).stdout === 'begun\n');
  await killAndRestart();
  expect(await docker('inspect', '-f', '{{.State.Status}}', 'work')).toBe('running');
  // Not waited for: the container it ends is removed before anybody could ask how it ended.
  await waitFor('the next agent', () => docker('exec', '-d', 'work', 'touch', '/go'));

  // What it waits for is the exit, which is still told, with the code; only the output was cut short.
  const { stdout, stderr } = await running;
  expect(stdout.startsWith('begun\n')).toBe(true);
  expect(stderr).not.toBe('');
  await waitFor('it to be gone', async () => (await docker('ps', '-aq')) === '');
});

/** What work on containers' files could leave on the host: mounts, and files and directories beside theirs. */
async function tracesOfFileWork(host: LabHost): Promise<string> {
  const looks = `cut -d' ' -f4- /proc/self/mountinfo | sort
    ls -A ${host.dataDir}/images/tmp ${host.dataDir}/images/partial ${host.dataDir}/trash
    cd /run/tessera && find . -name frozen`;
  return host.must(['sh', '-c', looks]);
}

/** On another host archives cross the stream to it; on the manager's own they go between client and helper. */
test.each(['host2', 'host1'])(
  'docker cp either way, export and commit on %s end with an error and leave nothing, and the same works again',
  async (name) => {
    const host = lab.host(name);
    const onHost = ['-e', `constraint:node==${name}`];
    const HUGE = 'dd if=/dev/zero of=/huge bs=1 count=1 seek=$((1 << 35)) 2>/dev/null; mkdir /taken; echo up';
    const TICKING = `${HUGE}; while :; do date +%s%N > /tick; sleep 0.05; done`;
    for (const name of ['busy', 'frozen'])
      await docker('run', '-d', '--name', name, ...onHost, 'busybox', 'sh', '-c', TICKING);
    await docker('run', '--name', 'over', ...onHost, 'busybox', 'sh', '-c', HUGE);
    for (const name of ['busy', 'frozen'])
      await waitFor(name, async () => (await docker('logs', name)) === 'up');
    const archive = await makeLayer([{ name: 'part', content: Buffer.alloc(8 << 20, 'x') }]);
    const before = await tracesOfFileWork(host);

    const into = startClient(command(['cp', '-', 'busy:/taken']));
    into.write(archive.subarray(0, archive.length / 2));
    const out = ['cp busy:/huge -', 'cp over:/huge -', 'export busy'].map((words) =>
      startStalledClient(command(words.split(' '))),
    );
    const commit = startClient(command(['commit', 'frozen', 'of-frozen']));
    await Promise.all(out.map(({ begun }) => begun));
    await waitFor(
      'a part of what goes in',
      async () => Number(await docker('exec', 'busy', 'stat', '-c', '%s', '/taken/part')) > 0,
    );
    await waitFor('a layer on its way', () =>
      readdirSync(`${host.dataDir}/images/tmp`).some((name) => name.startsWith('commit')),
    );
    const { stdout: frozen } = await host.exec(['sh', '-c', 'cd /run/tessera && find . -name frozen']);
    expect(frozen).not.toBe('');
    await host.killAgent();

    const ends = await Promise.all(out.map((client) => client.end()));
    for (const { code, stderr } of ends) {
      expect(code).not.toBe(0);
      expect(stderr).not.toBe('');
    }
    for (const client of [into, commit]) {
      expect(await client.ended).not.toBe(0);
      expect(client.output()).toMatch(/the node|the stream|[Ee]rror/);
    }
    await waitFor('the helpers to end', async () => (await pidsOf(host, 'archive')).length === 0);
    await host.startAgent();
    await cluster.waitNode(host, 'ready');

    // It runs on, and takes part in everything.
    await waitFor('the next agent', () => docker('exec', 'frozen', 'rm', '/huge', '/tick'));
    await waitFor(
      'it to go on',
      async () => (await tryDocker(['exec', 'frozen', 'test', '-s', '/tick'])).code === 0,
    );
    expect(await tracesOfFileWork(host)).toBe(before);
    for (const name of ['busy', 'frozen'])
      expect(await docker('inspect', '-f', '{{.State.Status}}', name)).toBe('running');
    await docker('exec', 'busy', 'rm', '/huge');

    const intoAgain = await tryDocker(['cp', '-', 'busy:/taken'], { input: archive });
    expect(intoAgain).toMatchObject({ code: 0 });
    expect(await docker('exec', 'busy', 'stat', '-c', '%s', '/taken/part')).toBe(String(8 << 20));
    expect((await docker('cp', 'busy:/taken', '-')).length).toBeGreaterThan(8 << 20);
    expect((await docker('export', 'busy')).length).toBeGreaterThan(8 << 20);
    await docker('commit', 'frozen', 'of-frozen');
    // Nobody is at its files any more: it starts.
    await docker('start', '-a', 'over');

    await docker('rm', '-f', 'busy', 'frozen', 'over');
    await docker('rmi', 'of-frozen');
    await waitFor('nothing to be left', async () => (await tracesOfFileWork(host)) === before);
  },
);

describe('volumes', () => volumeScenarios(() => cluster));
