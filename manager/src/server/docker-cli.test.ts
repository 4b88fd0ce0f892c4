import { execFile, spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { LogRecord } from '@tessera/shared/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ApiFixture, anImage } from './testing/api-fixture.js';

// The unchanged docker CLI as a client. Set-up installs it; where it is missing, these tests fail.

const run = promisify(execFile);
let api: ApiFixture;

beforeEach(async () => {
  api = await ApiFixture.start();
});
afterEach(() => api[Symbol.asyncDispose]());

/** What docker prints, without space at line ends. */
async function docker(...args: string[]): Promise<string> {
  const { stdout } = await run('docker', ['-H', `unix://${api.socketPath}`, ...args]);
  return stdout.replace(/ +$/gm, '').trimEnd();
}

const failure = async (...args: string[]): Promise<string> => {
  const error = await docker(...args).then(
    (out) => ({ stderr: `it succeeded with ${out}` }),
    (thrown: { stderr: string }) => thrown,
  );
  return error.stderr.trim();
};

describe('docker', () => {
  test('info and version', async () => {
    expect(await docker('version', '--format', '{{.Server.APIVersion}} {{.Server.Os}}')).toBe('1.50 linux');
    expect(await docker('info', '--format', '{{.Swarm.LocalNodeState}} {{.Swarm.Nodes}}')).toBe('active 3');
    expect(await docker('info')).toContain('Is Manager: true');
  });

  test('service create waits until all tasks run; ls, ps, scale, update, inspect and rm follow', async () => {
    const stop = api.runTasks();
    await api.addImage();
    await docker('network', 'create', '-d', 'overlay', 'shop');

    const created = await docker(
      'service',
      'create',
      ...['--name', 'web', '--replicas', '3', '--network', 'shop'],
      ...['--limit-memory', '64M', '--reserve-cpu', '0.2', 'busybox', 'httpd', '-f'],
    );
    await docker('service', 'scale', '-d', 'web=5');
    await docker('service', 'update', '-d', '--env-add', 'A=b', '--limit-memory', '32M', 'web');

    expect(created).toMatch(/verify: Service [a-z0-9]{25} converged/);
    await expect
      .poll(() => docker('service', 'ls', '--format', '{{.Name}} {{.Replicas}} {{.Image}}'))
      .toBe('web 5/5 busybox:latest');
    expect(await docker('service', 'ps', 'web', '--format', '{{.Name}} {{.Node}} {{.DesiredState}}')).toBe(
      ['web.1 host1', 'web.2 host2', 'web.3 host3', 'web.4 host1', 'web.5 host2']
        .map((line) => `${line} Running`)
        .join('\n'),
    );
    const pretty = await docker('service', 'inspect', '--pretty', 'web');
    expect(pretty).toContain('Memory:\t32MiB');
    expect(pretty).toContain('Env:\t\tA=b');
    expect(await failure('network', 'rm', 'shop')).toContain('in use by service web');
    expect(await docker('service', 'rm', 'web')).toBe('web');
    expect(await docker('service', 'ls', '-q')).toBe('');
    stop();
  });

  test('service create keeps the whole of a long list of flags', async () => {
    await api.addImage();
    const flags =
      '--mount type=tmpfs,target=/x,tmpfs-size=1000 --mount type=bind,source=/a,target=/b,ro --env A=b ' +
      '--no-healthcheck --restart-condition on-failure --restart-delay 3s --dns 1.1.1.1 --ulimit nofile=10:20 ' +
      '--constraint node.role==worker --update-parallelism 2 --endpoint-mode dnsrr --log-opt max-size=1m ' +
      '--log-driver json-file --limit-pids 5 --cap-add NET_ADMIN --host a:1.1.1.1 --stop-grace-period 0s ' +
      '--label l=1 --container-label c=2 --hostname h --user 1 --workdir /w --read-only --sysctl net.a=1';
    await docker('service', 'create', '-d', '--name', 'web', ...flags.split(' '), 'busybox');
    const before = [...api.store.view().services.all()][0]!;

    await docker('service', 'update', '-d', '--label-add', 'l=1', 'web');

    const after = [...api.store.view().services.all()][0]!;
    expect(after.spec).toEqual(before.spec);
    expect(after.specVersion).toBe(1);
    expect(before.spec?.task).toMatchObject({
      restart: { condition: 'on_failure', delayMs: 3000 },
      container: { stopGraceMs: 0, capAdd: ['CAP_NET_ADMIN'], healthcheck: { test: ['NONE'] } },
    });
  });

  test.each([
    [['--publish', '80:80'], 'EndpointSpec.Ports: published ports are not supported yet'],
    [['--tty'], 'TTY: terminals for services are not supported yet'],
    [['--mode', 'global-job'], 'Mode.GlobalJob: jobs are not supported yet'],
    [['--credential-spec', 'file://x'], 'CredentialSpec'],
  ])('service create %s is refused by name', async (flags, message) => {
    await api.addImage();

    expect(await failure('service', 'create', '-d', ...flags, 'busybox')).toContain(message);
  });

  test('service logs shows the task and the node of each line', async () => {
    const stop = api.runTasks();
    await api.addImage();
    await docker('service', 'create', '-d', '--name', 'web', 'busybox');
    await expect.poll(() => api.store.view().tasks.size).toBe(1);
    stop();
    const task = [...api.store.view().tasks.all()][0]!;
    api.logEntries = async function* () {
      for (const line of ['hello', 'world']) {
        yield {
          kind: 'record',
          task,
          record: LogRecord.fromPartial({ taskId: task.id, line: Buffer.from(line) }),
        };
      }
    };

    expect(await docker('service', 'logs', 'web')).toMatch(
      /^web\.1\.\w+@host1\s+\| hello\nweb\.1\.\w+@host1\s+\| world$/,
    );
    expect(await docker('service', 'logs', '--raw', 'web')).toBe('hello\nworld');
  });

  test('image load, ls, tag and rm', async () => {
    api.onStream = async function* (_, kind, received) {
      if (kind.$case !== 'imageLoad') return;
      for await (const _ of received) void _;
      const id = `sha256:${'b'.repeat(64)}`;
      yield { body: { $case: 'imageLoaded', value: { image: anImage(id, ['busybox:latest']) } } };
      await api.store.update((tx) => {
        for (const status of [...tx.nodeStatuses.all()])
          tx.put('nodeStatuses', { ...status, imageDigests: [id] });
      });
    };
    const child = spawn('docker', ['-H', `unix://${api.socketPath}`, 'image', 'load']);
    child.stdin.end(Buffer.alloc(100_000));

    expect(await text(child.stdout)).toBe('Loaded image: busybox:latest\n');
    expect(await docker('image', 'ls', '--format', '{{.Repository}}:{{.Tag}} {{.Size}}')).toBe(
      'busybox:latest 4.26MB',
    );
    await docker('image', 'tag', 'busybox', 'box:2');
    expect(await docker('image', 'rm', 'busybox')).toBe('Untagged: busybox:latest');
    expect(await docker('image', 'inspect', 'box:2', '--format', '{{.Architecture}}')).toBe('amd64');
    expect(await docker('image', 'rm', 'box:2')).toContain('Deleted: sha256:');
  });

  test('node ls, inspect, update and rm', async () => {
    expect(await docker('node', 'ls', '--format', '{{.Hostname}} {{.Status}} {{.ManagerStatus}}')).toBe(
      'host1 Ready Leader\nhost2 Ready\nhost3 Ready',
    );
    await docker('node', 'update', '--availability', 'drain', '--label-add', 'disk=ssd', 'host3');
    expect(
      await docker('node', 'inspect', 'host3', '--format', '{{.Spec.Availability}} {{.Spec.Labels.disk}}'),
    ).toBe('drain ssd');
    expect(await docker('node', 'inspect', '--pretty', 'self')).toContain('Raft Status');
    expect(await failure('node', 'rm', 'host3')).toContain('is not down');
    expect(await docker('node', 'rm', '--force', 'host3')).toBe('host3');
  });

  test('network create, ls, inspect and rm', async () => {
    await docker('network', 'create', '-d', 'overlay', '--subnet', '10.3.0.0/24', '--label', 'a=b', 'shop');

    expect(await docker('network', 'ls', '--format', '{{.Name}} {{.Driver}} {{.Scope}}')).toBe(
      ['bridge bridge local', 'host host local', 'none null local', 'shop overlay swarm'].join('\n'),
    );
    expect(await docker('network', 'inspect', 'shop', '--format', '{{(index .IPAM.Config 0).Subnet}}')).toBe(
      '10.3.0.0/24',
    );
    expect(await docker('network', 'rm', 'shop')).toBe('shop');
    expect(await failure('network', 'rm', 'none')).toContain('cannot be removed');
  });

  test('swarm join-token, and its rotation', async () => {
    expect(await docker('swarm', 'join-token', 'worker')).toContain(
      'docker swarm join --token TSWT-1-worker 10.0.0.1:2377',
    );
    const rotated = await docker('swarm', 'join-token', '--rotate', '-q', 'worker');
    expect(rotated).toMatch(/^TSWT-1-[0-9a-z]{50}-[0-9a-z]{25}$/);
  });
});
