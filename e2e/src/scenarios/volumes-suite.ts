import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startClient } from '../lab/client.js';
import type { LabCluster } from '../lab/cluster.js';
import { type CommandOptions, must, run } from '../lab/command.js';
import { waitFor } from '../lab/wait.js';

/**
 * Volumes of containers on a lab of at least two hosts, through the unchanged docker CLI. It loses its second host, and
 * has it back at the end.
 */
export function volumeScenarios(cluster: () => LabCluster): void {
  const lost = () => cluster().lab.hosts[1]!;
  const command = (words: readonly string[]) => [
    'docker',
    '-H',
    `unix://${cluster().manager.socket}`,
    ...words,
  ];
  const tryDocker = (words: readonly string[], options: CommandOptions = {}) =>
    run(command(words), { timeoutMs: 90_000, ...options });
  const docker = async (...words: string[]) => (await must(command(words), { timeoutMs: 90_000 })).trimEnd();
  const once = (...words: string[]) => docker('run', '--rm', ...words);
  const refused = async (...words: string[]) => {
    const { code, stderr } = await tryDocker(words);
    expect(code).not.toBe(0);
    return stderr.trim();
  };
  const onHost = ['-e', 'constraint:node==host2'];
  const IDLE = 'trap exit TERM; while :; do sleep 0.1; done';
  const dataOf = (name: string) => `${lost().dataDir}/volumes/${name}/_data`;
  const volumes = async () => (await docker('volume', 'ls', '-q')).split('\n').filter(Boolean);

  test('a volume is where it was first used, is filled there, and has all its containers come to it', async () => {
    // From the beginning on, whenever the client is there.
    const filters = ['--since', '1', '--filter', 'type=volume', '--filter', 'volume=data'];
    const events = startClient(command(['events', ...filters, '--format', '{{.Action}} {{.Actor.ID}}']));
    expect(await docker('volume', 'create', '--label', 'a=b', 'data')).toBe('data');
    const inspect = (format: string) => docker('volume', 'inspect', '-f', format, 'data');
    expect(await inspect('{{.Driver}} {{.Scope}} {{.Labels.a}} {{.Mountpoint}}')).toBe('local local b');

    const script = `echo one > /etc/one; mkdir -p /etc/sub/deep; echo two > /etc/sub/deep/two; echo up; ${IDLE}`;
    await docker(
      'run',
      '-d',
      '--name',
      'writer',
      ...onHost,
      '-v',
      'data:/etc',
      'busybox',
      'sh',
      '-c',
      script,
    );
    await waitFor('it to have written', async () => (await docker('logs', 'writer')) === 'up');
    expect(await inspect('{{.Status.Node}} {{.Mountpoint}}')).toMatch(/^host2 .*\/volumes\/data\/_data$/);
    expect(readFileSync(`${dataOf('data')}/one`, 'utf8')).toBe('one\n');

    // Nothing but the volume says where to.
    expect(await once('-v', 'data:/x', 'busybox', 'sh', '-c', 'cat /x/one; grep -c root /x/passwd')).toBe(
      'one\n1',
    );
    await docker('create', '--name', 'second', '-v', 'data:/x', 'busybox');
    expect(await docker('inspect', '-f', '{{.Node.Name}}', 'second')).toBe('host2');
    expect(await refused('create', '-e', 'constraint:node==host1', '-v', 'data:/x', 'busybox')).toContain(
      'volume data',
    );

    const readOnly = await tryDocker([
      'run',
      '--rm',
      '-v',
      'data:/x:ro',
      'busybox',
      'sh',
      '-c',
      'cat /x/one; echo no > /x/no',
    ]);
    expect(readOnly).toMatchObject({
      code: 1,
      stdout: 'one\n',
      stderr: expect.stringContaining('Read-only file system'),
    });
    const part = 'type=volume,src=data,dst=/part,volume-subpath=sub/deep,readonly';
    expect(await once('--mount', part, 'busybox', 'cat', '/part/two')).toBe('two');
    const missing = await tryDocker(['run', '--rm', '--mount', part.replace('deep', 'none'), 'busybox']);
    expect(missing).toMatchObject({
      code: 125,
      stderr: expect.stringContaining('data/_data/sub/none: it does not exist'),
    });
    const from = [
      '--volumes-from',
      'writer:ro',
      'busybox',
      'sh',
      '-c',
      'cat /etc/one; touch /etc/no || hostname',
    ];
    expect(await once(...from)).toMatch(/^one\n[0-9a-f]{12}$/);

    expect(await refused('volume', 'rm', 'data')).toMatch(/remove data: volume is in use - \[[0-9a-f, ]+\]$/);
    expect(await docker('volume', 'prune', '-af')).toBe('Total reclaimed space: 0B');
    const df = await docker(
      'system',
      'df',
      '-v',
      '--format',
      '{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}{{end}}',
    );
    expect(df).toMatch(/^data 2 [1-9].*B$/);
    expect(await cluster().manager.tsctl('volume', 'ls')).toMatch(/^local +data +host2$/m);
    await docker('rm', 'second');
    await docker('rm', '-f', 'writer');
    expect(await docker('volume', 'rm', 'data')).toBe('data');
    expect(existsSync(`${lost().dataDir}/volumes/data`)).toBe(false);
    expect(await volumes()).toEqual([]);
    await events.saw('destroy data');
    expect([...new Set(events.output().trimEnd().split('\n'))]).toEqual([
      'create data',
      'mount data',
      'unmount data',
      'destroy data',
    ]);
    events.kill();
  });

  test('a volume without a name goes with its container where that is asked for, and else by prune', async () => {
    await once('-v', '/scratch', 'busybox', 'touch', '/scratch/x');
    await waitFor('the volume of --rm to go', async () => (await volumes()).length === 0);
    await docker('create', '--name', 'maker', 'busybox');
    await docker('commit', '-c', 'VOLUME /etc', 'maker', 'with-volume');
    await docker('rm', 'maker');

    await docker('run', '--name', 'first', ...onHost, 'with-volume', 'touch', '/etc/new');
    const [name] = await volumes();
    expect(name).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(dataOf(name!))).toEqual(expect.arrayContaining(['new', 'passwd']));
    await docker('rm', '-v', 'first');
    expect(await volumes()).toEqual([]);

    await docker('create', '--name', 'first', ...onHost, '-v', 'named:/n', 'with-volume');
    await docker('rm', 'first');
    const left = await volumes();
    expect(left).toHaveLength(2);
    expect(await docker('volume', 'ls', '-q', '-f', 'dangling=true')).toBe(left.join('\n'));
    // Those that somebody has named stay, unless they are asked for.
    expect(await docker('volume', 'prune', '-f')).toMatch(
      /^Deleted Volumes:\n[0-9a-f]{64}\n\nTotal reclaimed space: /,
    );
    expect(await volumes()).toEqual(['named']);
    expect(await cluster().manager.tsctl('volume', 'prune', '-a')).toContain('named\n');
    expect(await volumes()).toEqual([]);

    // A service's task has one too, for as long as it is there.
    await docker(
      ...'service create -d --name tasks --constraint node.hostname==host2 with-volume sleep 100000'.split(
        ' ',
      ),
    );
    await cluster().waitRunning('tasks', 1);
    const [own] = await volumes();
    expect(own).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(dataOf(own!))).toContain('passwd');
    await docker('service', 'rm', 'tasks');
    await waitFor("the task's volume to go", async () => (await volumes()).length === 0);
    await docker('rmi', 'with-volume');
  });

  test('an agent that is killed forgets no volume, and removes what it was asked to when it is back', async () => {
    await docker(
      'run',
      '-d',
      '--name',
      'user',
      ...onHost,
      '-v',
      'kept:/k',
      'busybox',
      'sh',
      '-c',
      `echo kept > /k/x; ${IDLE}`,
    );
    await docker('volume', 'create', '-o', 'type=tmpfs', '-o', 'device=tmpfs', 'memory');
    await docker(
      'run',
      '-d',
      '--name',
      'mounted',
      ...onHost,
      '-v',
      'memory:/m',
      'busybox',
      'sh',
      '-c',
      `echo up > /m/x; ${IDLE}`,
    );
    await docker('create', '--name', 'other', ...onHost, '-v', 'going:/g', 'busybox');
    await docker('rm', 'other');
    const mounts = () => lost().must(['grep', '-c', '/volumes/memory/', '/proc/self/mountinfo']);
    expect(await mounts()).toBe('1\n');

    await lost().killAgent();
    const removal = docker('volume', 'rm', 'going');
    await lost().startAgent();

    expect(await removal).toBe('going');
    expect(existsSync(`${lost().dataDir}/volumes/going`)).toBe(false);
    expect(await refused('volume', 'rm', 'kept')).toContain('volume is in use');
    expect(await once('-v', 'kept:/k', '-v', 'memory:/m', 'busybox', 'cat', '/k/x', '/m/x')).toBe('kept\nup');
    expect(await docker('exec', 'user', 'cat', '/k/x')).toBe('kept');
    await docker('rm', '-f', 'mounted');
    await waitFor(
      'what was mounted to go',
      async () => (await lost().exec(['grep', '/volumes/memory/', '/proc/self/mountinfo'])).code === 1,
    );
    expect(await docker('volume', 'rm', 'memory')).toBe('memory');
    await docker('rm', '-f', 'user');
  });

  test('a volume whose host is gone is named with it; back again, the host has what was in it', async () => {
    await lost().kill();
    await cluster().waitNode(lost(), 'down');

    expect(await refused('run', '--rm', '-v', 'kept:/k', 'busybox')).toContain(
      'volume kept is on node host2, which is down',
    );
    expect(await refused('volume', 'rm', 'kept')).toContain(
      'node host2, which has the volume, cannot be reached',
    );
    expect(await docker('volume', 'ls', '--format', '{{.Name}}')).toBe('kept');
    expect(await once('-v', 'elsewhere:/e', 'busybox', 'echo', 'works')).toBe('works');
    expect(await docker('volume', 'rm', '-f', 'kept')).toBe('kept');
    expect(await volumes()).toEqual(['elsewhere']);
    expect(existsSync(dataOf('kept'))).toBe(true);
    await lost().start();
    await cluster().waitNode(lost(), 'ready');

    await waitFor('what was forced to be removed to go', () => !existsSync(dataOf('kept')));
    expect(await docker('volume', 'rm', 'elsewhere')).toBe('elsewhere');
  });
}
