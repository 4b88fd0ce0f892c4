import { readFileSync, readlinkSync } from 'node:fs';
import { delay, systemClock } from '@tessera/shared/env';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StartError } from '../executor.js';
import type { ExecRequest } from '../live-container.js';
import type { PersonContainer } from './testing/person.js';
import { anExec, openRig, type Rig, readAll } from './testing/rig.js';

const { signal } = new AbortController();
const BOTH = { stdout: true, stderr: true };

let rig: Rig;
let container: PersonContainer;
beforeAll(async () => {
  rig = await openRig();
  container = await rig.create(['sh', '-c', 'sleep 100000'], {
    env: ['COLOUR=red', 'SHAPE=round'],
    dir: '/tmp',
  });
  await container.start();
});
afterAll(async () => {
  await container.remove();
  await rig.close();
});

async function run(args: readonly string[], part: Partial<ExecRequest> = {}, input?: string) {
  const exec = await container.createExec(anExec(args, { stdin: input !== undefined, ...part }));
  const streams = await exec.start(BOTH);
  if (input !== undefined) {
    await streams!.write(Buffer.from(input));
    await streams!.endInput();
  }
  const output = await readAll(streams!);
  return { ...output, exitCode: await exec.wait(signal) };
}
const shell = (script: string, part: Partial<ExecRequest> = {}) => run(['sh', '-c', script], part);

describe('how an exec ends', () => {
  test('its output and exit code are its own', async () => {
    expect(await shell('echo out; echo err >&2; exit 7')).toEqual({
      stdout: 'out\n',
      stderr: 'err\n',
      exitCode: 7,
    });
    expect((await shell('kill -TERM $$')).exitCode).toBe(143);
  });

  test.each([
    ['no-such-command', 127, 'exec: "no-such-command": executable file not found in $PATH'],
    ['/no/such/file', 127, 'exec: "/no/such/file": stat /no/such/file: no such file or directory'],
    ['/etc/passwd', 126, 'exec: "/etc/passwd": permission denied'],
    ['/etc', 126, 'exec: "/etc": is a directory'],
    ['noise', 126, 'exec: "noise": exec format error'],
  ])('%s ends with Docker’s code %i and words', async (command, exitCode, message) => {
    const exec = await container.createExec(anExec([command]));
    const error = await exec.start(BOTH).catch((each: unknown) => each);

    expect(error).toBeInstanceOf(StartError);
    expect(error).toMatchObject({ exitCode, message });
    expect(exec.status()).toMatchObject({ state: 'exited', exitCode });
  });

  test('a user or a working directory that is not there is refused by name', async () => {
    await expect(shell('true', { user: 'nobody-here' })).rejects.toThrow(
      'unable to find user nobody-here: no matching entries in passwd file',
    );
    await expect(shell('true', { workingDir: '/not/there' })).rejects.toThrow(
      'working directory "/not/there" (--workdir, or the image\'s) cannot be entered: no such file or directory',
    );
    await expect(shell('true', { workingDir: 'there' })).rejects.toThrow(/must be an absolute path/);
  });

  test('detached, it runs on without a reader; it can be signalled', async () => {
    const exec = await container.createExec(
      anExec([
        'sh',
        '-c',
        'yes | head -c 5000000; trap "exit 9" USR1; touch /ready; while :; do sleep 0.02; done',
      ]),
    );
    expect(await exec.start(undefined)).toBeUndefined();
    const { pid, state } = exec.status();
    expect({ state, inside: readlinkSync(`/proc/${pid}/ns/pid`) }).toEqual({
      state: 'running',
      inside: readlinkSync(`/proc/${container.pid}/ns/pid`),
    });
    while ((await run(['test', '-e', '/ready'])).exitCode !== 0) await delay(systemClock, 5);
    await exec.signal(10);

    expect(await exec.wait(signal)).toBe(9);
    await expect(exec.start(undefined)).rejects.toMatchObject({ kind: 'conflict' });
  });

  test('what it leaves behind does not keep its reader waiting', async () => {
    const { stdout } = await shell('(sleep 1000) & echo over');

    expect(stdout).toBe('over\n');
  });
});

describe('what an exec is', () => {
  test('its environment, user and directory are the container’s unless it says otherwise', async () => {
    const same = await shell('echo $COLOUR $SHAPE $HOME; id -u; pwd');
    const other = await shell('echo $COLOUR $SHAPE $HOME $NEW; id -u; pwd', {
      env: ['COLOUR=blue', 'NEW=1'],
      user: 'app',
      workingDir: '/etc',
    });

    expect(same.stdout).toBe('red round /root\n0\n/tmp\n');
    expect(other.stdout).toBe('blue round /home/app 1\n1000\n/etc\n');
  });

  test('it is in all of the container’s namespaces and groups', async () => {
    const exec = await container.createExec(anExec(['sleep', '1000']));
    await exec.start(undefined);
    const [inner, outer] = [exec.status().pid, container.pid];

    for (const name of ['mnt', 'pid', 'net', 'uts', 'ipc', 'cgroup'])
      expect(readlinkSync(`/proc/${inner}/ns/${name}`)).toBe(readlinkSync(`/proc/${outer}/ns/${name}`));
    expect(readFileSync(`/proc/${inner}/cgroup`, 'utf8')).toBe(readFileSync(`/proc/${outer}/cgroup`, 'utf8'));
    await exec.signal(9);
    expect(await exec.wait(signal)).toBe(137);
  });

  test('it may do what the container may, and everything when privileged', async () => {
    const lines = 'grep -E "Cap(Eff|Bnd|Inh|Amb)|NoNewPrivs|^Seccomp:" /proc/self/status';
    const own = readFileSync(`/proc/${container.pid}/status`, 'utf8');
    const field = (text: string, name: string) => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(text)?.[1];
    const plain = await shell(lines);
    const privileged = await shell(lines, { privileged: true });

    for (const name of ['CapEff', 'CapBnd', 'CapInh', 'CapAmb', 'NoNewPrivs', 'Seccomp'])
      expect([name, field(plain.stdout, name)]).toEqual([name, field(own, name)]);
    const all = field(readFileSync('/proc/self/status', 'utf8'), 'CapPrm');
    expect(field(privileged.stdout, 'CapEff')).toBe(all);
    expect(field(privileged.stdout, 'CapInh')).toBe('0000000000000000');
  });

  test('only its three streams are open (CVE-2024-21626)', async () => {
    const { stdout } = await shell('ls /proc/$$/fd; readlink /proc/$$/fd/0; stat -L -c %t:%T /proc/$$/fd/0');

    expect(stdout).toBe('0\n1\n2\n/dev/null\n1:3\n');
  });

  test('the container never sees an exec that may do more than it may, though it may trace processes', async () => {
    const watcher = await rig.create(
      [
        'sh',
        '-c',
        'touch /seen; while [ ! -e /stop ]; do cat /proc/[0-9]*/status 2>/dev/null | grep CapBnd >> /seen; done; sort -u /seen',
      ],
      { capDrop: ['ALL'], capAdd: ['SYS_PTRACE', 'DAC_OVERRIDE'] },
    );
    const streams = await watcher.attach({ wait: true });
    await watcher.start();
    for (let i = 0; i < 60; i++) {
      const exec = await watcher.createExec(anExec(['true']));
      await exec.start(undefined);
      expect(await exec.wait(signal)).toBe(0);
    }
    await (await watcher.createExec(anExec(['touch', '/stop']))).start(undefined);

    expect((await readAll(streams)).stdout).toMatch(/^CapBnd:\t0000000000080002\n$/);
    await watcher.remove();
  });

  test('a working directory that leads out by a descriptor is refused (CVE-2024-21626)', async () => {
    for (let fd = 3; fd < 20; fd++)
      await expect(shell('pwd', { workingDir: `/proc/self/fd/${fd}` })).rejects.toMatchObject({
        exitCode: 126,
      });
  });

  test('/proc/self/exe as its command reaches only a sealed copy (CVE-2019-5736)', async () => {
    const exec = await container.createExec(anExec(['/proc/self/exe']));
    const streams = await exec.start(BOTH);
    await readAll(streams!);
    expect(await exec.wait(signal)).not.toBe(137);
    // What is looked at while it waits, before its command: no path leads to a file of the host.
    const { stdout } = await shell(
      'for i in 1 2 3; do cat /proc/*/exe >/dev/null; done; ls -l /proc/self/exe',
    );
    expect(stdout).toMatch(/bin\/busybox/);
  });

  test('the image’s own /dev/null, when something else, is refused rather than opened', async () => {
    const other = await rig.create([
      'sh',
      '-c',
      'rm /dev/null; mkfifo /dev/null; echo ready; while :; do sleep 0.1; done',
    ]);
    const streams = await other.attach();
    await other.start();
    await readAll(streams, ({ stdout }) => stdout === 'ready\n');
    const exec = await other.createExec(anExec(['true']));

    await expect(exec.start(undefined)).rejects.toMatchObject({ exitCode: 125 });
    await other.remove();
  });
});

test('a terminal is never made of what was put over the container’s own (CVE-2025-52565)', async () => {
  const other = await rig.create(
    ['sh', '-c', 'mount -o bind /etc/passwd /dev/pts/ptmx && echo ready; while :; do sleep 0.1; done'],
    { privileged: true },
  );
  const streams = await other.attach();
  await other.start();
  await readAll(streams, ({ stdout }) => stdout === 'ready\n');
  const exec = await other.createExec(anExec(['true'], { tty: true }));

  await expect(exec.start(undefined)).rejects.toThrow(/its streams: EXDEV/);
  await other.remove();
});

describe('streams', () => {
  test('input goes through whole, and its end is passed on', async () => {
    const input = 'x'.repeat(300_000);
    const { stdout } = await run(['sh', '-c', 'wc -c; echo done'], {}, input);

    expect(stdout).toBe('300000\ndone\n');
  });

  test('it waits for its reader, however much it writes', async () => {
    const exec = await container.createExec(anExec(['sh', '-c', 'yes 0123456789abcde | head -c 50000000']));
    const streams = await exec.start(BOTH);
    let received = 0;
    for await (const { bytes } of streams!) {
      if (received === 0) await delay(systemClock, 100);
      received += bytes.length;
    }

    expect(received).toBe(50_000_000);
  });

  test('a large command line goes over in pieces', async () => {
    const args = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(2_000, 'x'));
    const { stdout } = await run(['sh', '-c', 'echo $#', 'sh', ...args]);

    expect(stdout).toBe('60\n');
  });

  test('a terminal has its size from the start, can be resized, and interrupts', async () => {
    const exec = await container.createExec(
      anExec(
        [
          'sh',
          '-c',
          'tty; stty size; echo $TERM; trap "stty size" WINCH; trap "exit 4" INT; echo ready; while :; do sleep 0.02; done',
        ],
        { tty: true, stdin: true },
      ),
    );
    const streams = await exec.start(BOTH, { rows: 20, columns: 70 });
    const iterator = streams![Symbol.asyncIterator]();
    let output = '';
    const until = async (text: string) => {
      while (!output.includes(text)) output += Buffer.from((await iterator.next()).value!.bytes).toString();
    };
    await until('ready\r\n');
    expect(output).toMatch(/^\/dev\/pts\/\d+\r\n20 70\r\nxterm\r\nready\r\n$/);
    await exec.resize({ rows: 30, columns: 90 });
    await until('30 90\r\n');
    await streams!.write(Buffer.from('\x03'));

    expect(await exec.wait(signal)).toBe(4);
    await expect(exec.resize({ rows: 1, columns: 1 })).rejects.toMatchObject({ kind: 'failedPrecondition' });
  });
});

describe('many, and none', () => {
  test('64 run at once, one more is refused in so many words, and then they go', async () => {
    const execs = await Promise.all(
      Array.from({ length: 64 }, () => container.createExec(anExec(['sleep', '1000']))),
    );
    await Promise.all(execs.map((exec) => exec.start(undefined)));
    const oneMore = await container.createExec(anExec(['true']));

    await expect(oneMore.start(undefined)).rejects.toMatchObject({
      kind: 'resourceExhausted',
      message: expect.stringContaining('too many execs are running in this container'),
    });
    await Promise.all(execs.map((exec) => exec.signal(9)));
    const codes = await Promise.all(execs.map((exec) => exec.wait(new AbortController().signal)));
    expect(new Set(codes)).toEqual(new Set([137]));
    await oneMore.start(undefined);
    expect(await oneMore.wait(signal)).toBe(0);
  });

  test('a hundred one after the other, eight at a time, leave nothing', async () => {
    let left = 100;
    const codes = new Set<number>();
    const lane = async () => {
      while (left-- > 0) codes.add((await shell('exit 5')).exitCode);
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    const { stdout } = await shell('ls -d /proc/[0-9]* | wc -l');

    expect(codes).toEqual(new Set([5]));
    // sh and sleep of the container, what an earlier test left sleeping, sh, ls and wc.
    expect(Number(stdout)).toBeLessThan(10);
    expect(container.live.execs().length).toBeLessThanOrEqual(64);
  });

  test('in a container that is paused, or does not run, none is started', async () => {
    const other = await rig.create(['sleep', '1000']);
    await expect(other.createExec(anExec(['true']))).rejects.toMatchObject({ kind: 'conflict' });
    await other.start();
    const before = await other.createExec(anExec(['true']));
    await other.live.pause();

    await expect(other.createExec(anExec(['true']))).rejects.toThrow(
      /is paused, unpause the container before exec/,
    );
    await expect(before.start(undefined)).rejects.toMatchObject({ kind: 'conflict' });
    await other.live.unpause();
    await before.start(undefined);
    expect(await before.wait(signal)).toBe(0);
    await other.remove();
    expect(() => container.live.exec('nonesuch')).toThrow(/nonesuch not found/);
  });

  test('the container’s end is the end of its execs, which does not wait for their readers', async () => {
    const other = await rig.create(['sh', '-c', 'while [ ! -e /end ]; do sleep 0.02; done; exit 6']);
    await other.start();
    const lasting = await other.createExec(anExec(['sh', '-c', 'trap "" TERM HUP; sleep 1000']));
    const streams = await lasting.start(BOTH);
    const last = await other.createExec(anExec(['touch', '/end']));
    await last.start(undefined);

    expect(await other.exit()).toMatchObject({ exitCode: 6 });
    expect(await lasting.wait(signal)).toBe(137);
    expect(await readAll(streams!)).toEqual({ stdout: '', stderr: '' });
    await other.remove();
  });
});
