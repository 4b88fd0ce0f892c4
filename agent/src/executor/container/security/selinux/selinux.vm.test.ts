import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { putArchive, readPath } from '@tessera/native';
import { type HostConfig, Mount } from '@tessera/shared/model';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ContainerExecutor } from '../../container-executor.js';
import { pathIn } from '../../path-in.js';
import { PersonContainer } from '../../testing/person.js';
import { anExec, openRig, type Rig, readAll } from '../../testing/rig.js';

// Needs a host that enforces a policy with containers: run by `npm run test:vm -- --selinux`.

const { signal } = new AbortController();
const LABEL = /^system_u:system_r:container_t:(s0:c\d+,c\d+)$/;
const DENIED = 'Permission denied';
/** What a container says of itself. */
const WHO = 'tr -d "\\0" < /proc/self/attr/current; echo';

let rig: Rig;
let hosts = 0;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
});

/** A directory of the host, with a file that says so. */
function hostDirectory(): string {
  const path = join(rig.dir, `host-${hosts++}`);
  mkdirSync(path);
  writeFileSync(join(path, 'file'), "the host's\n");
  return path;
}

const labelOf = (path: string): string =>
  execFileSync('stat', ['--format=%C', path], { encoding: 'utf8' }).trim();

const bound = (source: string, mode = '', target = '/host'): Mount =>
  Mount.fromPartial({ type: 'bind', source, target, mode, propagation: 'rprivate' });

const volume = (name: string, target: string): Mount =>
  Mount.fromPartial({ type: 'volume', source: name, target, volumeMount: { id: `id-of-${name}` } } as never);

const withOptions = (...securityOptions: string[]): Partial<HostConfig> => ({ securityOptions });

const said = (script: string, mounts: Mount[] = [], host: Partial<HostConfig> = {}, spec: object = {}) =>
  rig.said(['sh', '-c', `(${script}) 2>&1`], { mounts, ...spec }, { host });

async function sleeping(mounts: Mount[] = [], host: Partial<HostConfig> = {}): Promise<PersonContainer> {
  const container = await rig.create(['sleep', '1d'], { mounts }, { host });
  await container.start();
  return container;
}

async function heard(container: PersonContainer, script: string, part: object = {}): Promise<string> {
  const exec = await container.createExec(anExec(['sh', '-c', `(${script}) 2>&1`], part));
  const streams = await exec.start({ stdout: true, stderr: true });
  return (await readAll(streams!)).stdout.replaceAll('\r', '');
}

const levelOf = (label: string): string => LABEL.exec(label)?.[1] ?? `${label} is none`;

test('a container and its execs have one label, its files have its level, and it can use them all', async () => {
  const container = await sleeping([Mount.fromPartial({ type: 'tmpfs', target: '/mem' })]);
  const { process, mount } = container.live.labels!;

  expect(process).toMatch(LABEL);
  expect(mount).toBe(`system_u:object_r:container_file_t:${levelOf(process)}`);
  expect(readFileSync(`/proc/${container.pid}/attr/current`, 'utf8').replace('\0', '')).toBe(process);
  expect(await heard(container, WHO)).toBe(`${process}\n`);
  expect(await heard(container, WHO, { tty: true, privileged: true })).toBe(`${process}\n`);
  const places = ['/own', '/mem/own', '/dev/shm/own', '/dev/own'];
  expect(await heard(container, places.map((path) => `echo ${path} > ${path}; cat ${path}`).join(';'))).toBe(
    `${places.join('\n')}\n`,
  );
  expect(await heard(container, 'cat /etc/hostname; echo > /dev/null; ls -d /dev/mqueue /dev/pts/ptmx')).toBe(
    `${container.id.slice(0, 12)}\n/dev/mqueue\n/dev/pts/ptmx\n`,
  );
  // Kernels ask for the label of a program's file in its layer, when it protects what it has relocated: of a file that is
  // new, and of one that is copied up.
  expect(await heard(container, 'cat /bin/busybox > /tmp/echo; chmod 755 /tmp/echo; /tmp/echo mine')).toBe(
    'mine\n',
  );
  expect(await heard(container, 'chmod 555 /bin/busybox && echo copied')).toBe('copied\n');
  expect(await heard(container, 'ls -d /bin')).toBe('/bin\n');
  await container.remove();
});

test('a task, an init and a command without new privileges are confined as well', async () => {
  expect((await rig.run(rig.task(['sh', '-c', WHO]))).stdout.trim()).toMatch(LABEL);
  expect((await said(WHO, [], {}, { init: true })).trim()).toMatch(LABEL);
  expect((await said(WHO, [], withOptions('no-new-privileges'))).trim()).toMatch(LABEL);
});

test("what is the host's is denied, but to a container without a label", async () => {
  const path = hostDirectory();
  const read = `${WHO}; cat /host/file`;

  expect(await said(read, [bound(path)])).toContain(DENIED);
  for (const host of [withOptions('label=disable'), withOptions('label:disable'), { pidMode: 'host' }])
    expect(await said(read, [bound(path)], host)).toBe(
      "system_u:system_r:container_runtime_t:s0\nthe host's\n",
    );
  expect(await said(read, [bound(path)], {}, { privileged: true })).toContain("the host's");
});

test('`Z` gives a directory to one container, `z` to all, and a volume is everyone’s', async () => {
  const [own, shared] = [hostDirectory(), hostDirectory()];
  mkdirSync(join(own, 'deep/er'), { recursive: true });
  const mounts = [bound(own, 'Z', '/own'), bound(shared, 'z', '/shared'), volume('labelled', '/etc')];
  const all =
    'cat /own/file; cat /shared/file; echo > /own/deep/er/new && echo written; cat /etc/passwd | head -n 1';
  const a = await sleeping(mounts);
  const asOther = [bound(own, '', '/own'), bound(shared, '', '/shared'), volume('labelled', '/etc')];

  expect(await heard(a, all)).toBe("the host's\nthe host's\nwritten\nroot:x:0:0:root:/root:/bin/sh\n");
  expect(labelOf(join(own, 'deep/er'))).toBe(a.live.labels!.mount);
  expect(labelOf(join(shared, 'file'))).toBe('system_u:object_r:container_file_t:s0');
  const b = await said(all, asOther);
  expect(b.match(/Permission denied/g)).toHaveLength(2);
  expect(b).toContain("the host's\n");
  expect(b).toContain('root:x:0:0:root');
  await a.remove();
});

test('labels stay within what is bound, and off what is the host’s own', async () => {
  const [path, other] = [hostDirectory(), hostDirectory()];
  symlinkSync(join(other, 'file'), join(path, 'link'));
  const before = labelOf(join(other, 'file'));

  expect(await said('cat /host/file', [bound(path, 'Z')])).toBe("the host's\n");
  expect(labelOf(join(other, 'file'))).toBe(before);
  for (const kept of ['/etc', '/usr/../etc', '/var/lib']) {
    await expect(said('true', [bound(kept, 'z')])).rejects.toThrow(
      `error setting label on mount source '${kept}': SELinux relabeling of ${kept} is not allowed`,
    );
  }
  expect(labelOf('/etc')).toBe('system_u:object_r:etc_t:s0');
});

test('a label’s parts are the user’s to choose, as far as the policy has them', async () => {
  const chosen = await sleeping([], withOptions('label=type:container_init_t', 'label=level:s0:c7,c8'));
  expect(chosen.live.labels).toEqual({
    process: 'system_u:system_r:container_init_t:s0:c7,c8',
    mount: 'system_u:object_r:container_file_t:s0:c7,c8',
  });
  expect(await heard(chosen, WHO)).toBe('system_u:system_r:container_init_t:s0:c7,c8\n');
  await chosen.remove();

  await expect(said('true', [], withOptions('label=type:nobody_t'))).rejects.toThrow(
    /the SELinux policy of this node has no label "system_u:system_r:nobody_t:s0:c\d+,c\d+"/,
  );
  // There is such a type, and no way from here to it.
  await expect(said('true', [], withOptions('label=type:getty_t'))).rejects.toThrow('permission denied');
});

test('who joins a container has its label', async () => {
  const lender = await sleeping([], { ipcMode: 'shareable' });
  const joining = { pidMode: `container:${lender.id}`, ipcMode: `container:${lender.id}` };
  expect(await said(`${WHO}; echo lent > /dev/shm/lent && cat /dev/shm/lent`, [], joining)).toBe(
    `${lender.live.labels!.process}\nlent\n`,
  );
  await lender.remove();
});

test('files are copied into one that was never started and out of one that runs, which can read them', async () => {
  const container = await rig.create(['sleep', '1d']);
  const copy = join(rig.dir, 'copy.tar');
  execFileSync('tar', ['-C', hostDirectory(), '-cf', copy, 'file']);
  const { live, asked } = container;
  const archive = (async function* () {
    yield readFileSync(copy);
  })();
  await live.useFiles(
    asked,
    (files) => putArchive(files, '/tmp', { keepKind: false, user: '' }, archive, signal),
    signal,
  );
  await container.start();
  const out: Uint8Array[] = [];
  await live.useFiles(
    asked,
    async (files) => {
      for await (const piece of (await readPath(files, pathIn('/tmp/file'), signal)).content) out.push(piece);
    },
    signal,
  );
  expect(await heard(container, 'cat /tmp/file')).toBe("the host's\n");
  expect(Buffer.concat(out).toString('latin1')).toContain("the host's\n");
  await container.remove();
});

test('the next agent knows the labels that containers have, which run on with them', async () => {
  const container = await sleeping();
  const labels = container.live.labels;

  const next = await ContainerExecutor.open(rig.options);
  await next.recover(new Set([container.id]));
  const adopted = new PersonContainer(next, container.asked);
  expect(adopted.live.labels).toEqual(labels);
  expect(await heard(adopted, WHO)).toBe(`${labels!.process}\n`);
  await adopted.stop(0);
  await adopted.start();
  expect(await heard(adopted, WHO)).toBe(`${labels!.process}\n`);
  await adopted.remove();
});
