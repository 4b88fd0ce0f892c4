import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { newHexId, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { Container, ContainerPlacement, Mount, Volume } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Volumes, volumesDirectory } from '../../volumes/index.js';
import { ContainerExecutor } from './container-executor.js';
import type { StandaloneContainer } from './standalone-container.js';
import { anImageConfig, directoryImages, openRig, type Rig, readLog } from './testing/rig.js';

// Volumes and binds of real containers.

let rig: Rig;
const unmounts: string[] = [];
const { signal } = new AbortController();

beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  for (const path of unmounts.splice(0)) execFileSync('umount', ['-R', '-l', path]);
  await rig.close();
});

const dataOf = (name: string) => join(volumesDirectory(rig.options.dataDir), name, '_data');

const aVolume = (name: string, options: Record<string, string> = {}): Volume =>
  Volume.fromPartial({ id: `id-of-${name}`, name, driver: 'local', options });

function assignment(
  script: string,
  mounts: readonly object[],
  volumes: readonly Volume[] = [],
): ContainerAssignment {
  const container = Container.fromPartial({
    id: newHexId(systemRandom),
    spec: {
      image: 'busybox',
      args: ['sh', '-c', script],
      stopGraceMs: -1,
      mounts: mounts.map((mount) => Mount.fromPartial(mount)),
    },
    host: { networkMode: 'none', resources: { memorySwappiness: -1 } },
  } as never);
  const placement = ContainerPlacement.create({ containerId: container.id, nodeId: 'n' });
  return { container, placement, volumes };
}

const named = (name: string, part: object = {}) => ({
  type: 'volume',
  source: name,
  target: '/seed',
  volumeMount: { id: `id-of-${name}` },
  ...part,
});

/** Creates it, runs it to its end, removes it, and gives what it wrote. */
async function run(asked: ContainerAssignment): Promise<{ stdout: string; stderr: string }> {
  const container = rig.executor.container(asked.container!.id);
  try {
    await container.create(asked, signal);
    await container.start(asked, signal);
    await container.ended(signal);
    return readLog(join(rig.options.dataDir, 'containers', container.id));
  } finally {
    await container.remove();
  }
}

const shell = (script: string, mounts: readonly object[], volumes: readonly Volume[] = []) =>
  run(assignment(script, mounts, volumes));

/** What the image has at /seed: files of another owner, a link, a hard link, an attribute. */
function seed(): void {
  const at = (path: string) => join(rig.layer, 'seed', path);
  mkdirSync(at('deep'), { recursive: true });
  writeFileSync(at('deep/file'), 'seeded\n');
  execFileSync('ln', [at('deep/file'), at('twin')]);
  symlinkSync('/etc/passwd', at('link'));
  execFileSync('setcap', ['cap_net_raw+ep', at('deep/file')]);
  chownSync(at(''), 1000, 1001);
  chmodSync(at(''), 0o2750);
}

test('a volume keeps what one container wrote for the next one', async () => {
  await shell('echo one > /seed/log', [named('data')], [aVolume('data')]);

  const { stdout } = await shell('cat /seed/log', [named('data', { readOnly: true })], [aVolume('data')]);

  expect(stdout).toBe('one\n');
});

test('an empty volume is given what the image has there, with owners, modes, links and attributes', async () => {
  seed();

  const { stdout } = await shell(
    'stat -c "%a %u %g" /seed; cat /seed/deep/file; readlink /seed/link; stat -c %h /seed/twin',
    [named('data')],
    [aVolume('data')],
  );

  expect(stdout).toBe('2750 1000 1001\nseeded\n/etc/passwd\n2\n');
  expect(execFileSync('getcap', [join(dataOf('data'), 'deep/file')]).toString()).toContain('cap_net_raw=ep');
  expect(readdirSync(join(dataOf('data'), '..')).sort()).toEqual(['_data', 'volume.json']);
});

test('a volume is not filled with nocopy, nor when something is in it', async () => {
  seed();

  const bare = { volumeMount: { id: 'id-of-bare', noCopy: true } };
  expect((await shell('ls -A /seed', [named('bare', bare)], [aVolume('bare')])).stdout).toBe('');
  await shell(
    'touch /seed/own',
    [named('own', { target: '/else' }), named('bare', bare)],
    [aVolume('own'), aVolume('bare')],
  );
  expect((await shell('ls -A /seed', [named('bare')], [aVolume('bare')])).stdout).toBe('own\n');
});

test('a link of the image at the target leads nowhere but into the image', async () => {
  symlinkSync('../../../../../../etc', join(rig.layer, 'seed'));

  const { stdout } = await shell('ls /etc', [named('data')], [aVolume('data')]);

  expect(stdout.split('\n')).toContain('passwd');
  // The image's own file, not the host's.
  expect(readFileSync(join(dataOf('data'), 'passwd'), 'utf8')).toContain('App:/home/app');
});

test('a volume over a file of the image is refused in words', async () => {
  await expect(shell('true', [named('data', { target: '/etc/passwd' })], [aVolume('data')])).rejects.toThrow(
    'cannot mount volume over existing file, file exists /etc/passwd',
  );
});

test('a copy that was cut short counts for nothing, and one that was whole is moved in', async () => {
  seed();
  const path = join(volumesDirectory(rig.options.dataDir), 'data');
  const volumes = rig.executor.volumes;
  await volumes.ensure({ name: 'data', volumeId: 'id-of-data', driver: 'local', labels: {}, options: {} });
  // As kill -9 leaves it in the middle of copying, and in the middle of moving.
  mkdirSync(join(path, '.fill.new/half'), { recursive: true });
  mkdirSync(join(path, '.fill/whole'), { recursive: true });

  const { stdout } = await shell('ls -A /seed', [named('data')], [aVolume('data')]);

  expect(stdout).toBe('whole\n');
  expect(readdirSync(path).sort()).toEqual(['_data', 'volume.json']);
});

test('one that somebody else has locked is not waited for', async () => {
  const path = join(volumesDirectory(rig.options.dataDir), 'data');
  await rig.executor.volumes.ensure({
    name: 'data',
    volumeId: 'id-of-data',
    driver: 'local',
    labels: {},
    options: {},
  });
  const holder = spawn('flock', [path, 'sh', '-c', 'echo locked; read -r _'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(holder.stdout, 'data');
  const fill = () =>
    rig.executor.volumes.fill('data', { base: rig.dir, layers: [rig.layer] }, '/etc', signal);

  await expect(fill()).rejects.toMatchObject({ kind: 'unavailable' });

  holder.stdin.end();
  await once(holder, 'exit');
  await fill();
  expect(readdirSync(dataOf('data'))).toContain('passwd');
});

test('what an agent was making or deleting when it died is gone at the next start', async () => {
  const path = volumesDirectory(rig.options.dataDir);
  await rig.executor.volumes.ensure({
    name: 'kept',
    volumeId: 'v',
    driver: 'local',
    labels: {},
    options: {},
  });
  mkdirSync(join(path, '.new-1/_data'), { recursive: true });
  mkdirSync(join(path, '.trash/old.1/_data'), { recursive: true });

  const next = await Volumes.open({ path, clock: systemClock, random: systemRandom, logger: silentLogger });

  expect(readdirSync(path).sort()).toEqual(['.empty', '.left', '.trash', 'kept']);
  expect(readdirSync(join(path, '.trash'))).toEqual([]);
  expect(next.states()).toMatchObject([{ name: 'kept', volumeId: 'v', state: 'made' }]);
});

test('a volume is removed on the order of the cluster, once no container has it', async () => {
  const states: string[] = [];
  const { volumes } = rig.executor;
  volumes.reportTo('n', { reportVolume: ({ name, state }) => void states.push(`${name} ${state}`) });
  const asked = assignment('true', [named('data')], [aVolume('data')]);
  const container = rig.executor.container(asked.container!.id);
  await container.create(asked, signal);

  volumes.apply(new Map([['id-of-data', aVolume('data')]]));
  await expect(
    volumes.ensure({ name: 'data', volumeId: 'other', driver: 'local', labels: {}, options: {} }),
  ).rejects.toThrow('still being removed');
  expect(existsSync(dataOf('data'))).toBe(true);
  await container.remove();

  await expect.poll(() => states).toEqual(['data made', 'data removed']);
  expect(existsSync(dataOf('data'))).toBe(false);
});

test('a part of a volume is mounted, and no link leads out of it', async () => {
  await shell(
    'mkdir -p /seed/a/b; echo deep > /seed/a/b/f; ln -s a/b /seed/in; ln -s /etc /seed/out; ln -s ../../.. /seed/up',
    [named('data')],
    [aVolume('data')],
  );
  const part = (subpath: string) =>
    shell(
      'cat /part/f',
      [named('data', { target: '/part', volumeMount: { id: 'id-of-data', subpath } })],
      [aVolume('data')],
    );

  expect((await part('a/b')).stdout).toBe('deep\n');
  expect((await part('in')).stdout).toBe('deep\n');
  for (const subpath of ['out', 'up', 'no/such']) await expect(part(subpath)).rejects.toThrow(/mount /);
});

test('a volume of the driver’s options is a mount of its own, for as long as a container runs', async () => {
  const memory = aVolume('memory', { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=7' });
  const mounted = () => readFileSync('/proc/self/mountinfo', 'utf8').includes(dataOf('memory'));

  const { stdout } = await shell(
    'df /seed | tail -n 1; stat -c %u /seed; touch /seed/x',
    [named('memory')],
    [memory],
  );

  expect(stdout).toMatch(/^tmpfs +1024 .*\n7\n$/);
  expect(mounted()).toBe(false);
  expect((await shell('ls -A /seed', [named('memory')], [memory])).stdout).toBe('');
  const broken = aVolume('broken', { type: 'none', device: '/no/such', o: 'bind' });
  await expect(shell('true', [named('broken')], [broken])).rejects.toThrow(
    /failed to mount local volume: mount \/no\/such:.*_data, flags: 0x1000: .*no such file/i,
  );
});

test("a user's /etc has the container's own files in it, but for those that the user brings", async () => {
  const etc = join(rig.dir, 'etc');
  mkdirSync(etc);
  for (const name of ['hosts', 'hostname', 'mark']) writeFileSync(join(etc, name), `host's ${name}\n`);
  const own = join(rig.dir, 'own-hosts');
  writeFileSync(own, 'brought\n');
  const bind = (source: string, target: string, part: object = {}) => ({
    type: 'bind',
    source,
    target,
    ...part,
  });
  const look =
    'cat /etc/mark; grep -c localhost /etc/hosts; [ "$(cat /etc/hostname)" = "$(hostname)" ] && echo own';

  expect((await shell(look, [bind(etc, '/etc/')])).stdout).toBe("host's mark\n2\nown\n");
  const both = [bind(own, '/etc/hosts'), bind(etc, '/etc')];
  expect((await shell('cat /etc/mark /etc/hosts', both)).stdout).toBe("host's mark\nbrought\n");
  expect(readFileSync(join(etc, 'hosts'), 'utf8')).toBe("host's hosts\n");
});

test('a source that -v names and that is missing is made; mounts do not travel where they cannot', async () => {
  const source = join(rig.dir, 'made/deep');
  const bind = (part: object) => ({ type: 'bind', source, target: '/x', createSource: true, ...part });

  expect((await shell('stat -c %a /x', [bind({})])).stdout).toBe('755\n');
  expect(statSync(source).isDirectory()).toBe(true);
  await expect(shell('true', [bind({ propagation: 'rshared' })])).rejects.toThrow(
    new RegExp(`^path ${source} is mounted on .* but it is not a shared mount$`),
  );
});

test.each(['rshared', 'rslave', 'rprivate'])('mounts travel as %s says', async (propagation) => {
  const source = join(rig.dir, 'peers');
  mkdirSync(join(source, 'late'), { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', source]);
  // Before the rig's directory goes.
  unmounts.push(source);
  execFileSync('mount', ['--make-shared', source]);
  mkdirSync(join(source, 'late'));
  const asked = assignment('while [ ! -e /x/go ]; do sleep 0.01; done; test -e /x/late/file && echo seen', [
    { type: 'bind', source, target: '/x', propagation },
  ]);
  const container: StandaloneContainer = rig.executor.container(asked.container!.id);
  await container.create(asked, signal);
  await container.start(asked, signal);

  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(source, 'late')]);
  writeFileSync(join(source, 'late/file'), '');
  writeFileSync(join(source, 'go'), '');
  await container.ended(signal);

  const { stdout } = readLog(join(rig.options.dataDir, 'containers', container.id));
  await container.remove();
  expect(stdout).toBe(propagation === 'rprivate' ? '' : 'seen\n');
});

test('a container that mounts the API’s socket finds the one that is there now, also after another has taken its place', async () => {
  const directory = join(rig.options.runDir, 'api');
  const serve = async (name: string): Promise<Server> => {
    const server = createServer((socket) => socket.end(name));
    await new Promise<void>((resolve) => server.listen(join(directory, 'new.sock'), resolve));
    execFileSync('mv', [join(directory, 'new.sock'), join(directory, 'tessera.sock')]);
    return server;
  };
  const first = await serve('first');
  const asked = assignment('sleep 1d', [
    { type: 'bind', source: '/var/run/docker.sock', target: '/var/run/docker.sock' },
  ]);
  const container = rig.executor.container(asked.container!.id);
  await container.create(asked, signal);
  await container.start(asked, signal);
  const { life } = container;
  const inside = `/proc/${'pid' in life ? life.pid : 0}/root`;
  const link = execFileSync('readlink', [`${inside}/var/run/docker.sock`])
    .toString()
    .trim();

  first.close();
  const second = await serve('second');

  expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(link);
  const inode = (path: string) => statSync(path).ino;
  expect(inode(`${inside}${link}`)).toBe(inode(join(directory, 'tessera.sock')));
  second.close();
  await container.remove();
});

test('what is in the place of the API’s socket goes, unless it is the host’s', async () => {
  const socket = { type: 'bind', source: '/var/run/docker.sock', target: '/run/docker.sock' };
  mkdirSync(join(rig.layer, 'run'));
  writeFileSync(join(rig.layer, 'run/docker.sock'), 'of the image');
  expect((await shell('readlink /run/docker.sock', [socket])).stdout).toBe('/dev/.tessera/tessera.sock\n');

  const host = join(rig.dir, 'host-run');
  mkdirSync(host);
  writeFileSync(join(host, 'docker.sock'), 'of the host');
  await expect(shell('true', [{ type: 'bind', source: host, target: '/run' }, socket])).rejects.toThrow(
    /file exists/,
  );
  expect(readFileSync(join(host, 'docker.sock'), 'utf8')).toBe('of the host');
});

test('what a task’s volume of no name is called stays, and goes with the task', async () => {
  const task = rig.task(['sh', '-c', 'touch /seed/x'], {
    mounts: [Mount.fromPartial({ type: 'volume', target: '/seed' })],
  });
  const controller = rig.executor.controller(task);
  await controller.prepare(signal);
  const [made] = rig.executor.volumes.states();
  expect(made?.name).toMatch(/^[0-9a-f]{64}$/);

  await controller.remove();

  expect(rig.executor.volumes.states()).toEqual([]);
});

test('what its image declares to be volumes a task has as such: filled, and gone with it', async () => {
  seed();
  const volumes = ['/seed', '/new', '/own'];
  const declaring = await openRig({ images: directoryImages([rig.layer], anImageConfig({ volumes })) });
  try {
    const script =
      'cat /seed/deep/file; echo x > /new/x; echo x > /own/x; grep -cE " /(seed|new|own) " /proc/mounts';
    const task = declaring.task(['sh', '-c', script], {
      mounts: [Mount.fromPartial({ type: 'tmpfs', target: '/own' })],
    });
    const controller = declaring.executor.controller(task);
    await controller.prepare(signal);
    const made = declaring.executor.volumes.states();
    expect(made.map(({ labels }) => labels)).toEqual(
      [0, 1].map(() => ({ 'com.docker.volume.anonymous': '' })),
    );
    await controller.start(signal);
    expect((await controller.wait(signal)).exitCode).toBe(0);
    const written = made.flatMap(({ mountpoint }) => readdirSync(mountpoint)).sort();
    expect(written).toEqual(['deep', 'link', 'twin', 'x']);

    const next = await ContainerExecutor.open(declaring.options);
    await next.recover(new Set([task.id]));
    await next.controller(task).remove();
    expect(next.volumes.states()).toEqual([]);
  } finally {
    await declaring.close();
  }
});

test('an image that declares nonsense to be a volume is refused, and leaves nothing', async () => {
  for (const path of ['/', 'relative']) {
    const volumes = ['/first', path];
    const declaring = await openRig({ images: directoryImages([rig.layer], anImageConfig({ volumes })) });
    await expect(declaring.run(declaring.task(['true']))).rejects.toThrow('it is a VOLUME of the image');
    expect(declaring.executor.volumes.states()).toEqual([]);
    await declaring.close();
  }
});

test('the next agent knows the volumes, and who has them', async () => {
  const asked = assignment('true', [named('data')], [aVolume('data')]);
  const container = rig.executor.container(asked.container!.id);
  await container.create(asked, signal);

  const next = await ContainerExecutor.open(rig.options);
  await next.recover(new Set([container.id]));
  next.volumes.apply(new Map([['id-of-data', aVolume('data')]]));

  expect(existsSync(dataOf('data'))).toBe(true);
  await container.remove();
});
