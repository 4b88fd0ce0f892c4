import { existsSync, readFileSync } from 'node:fs';
import { Mount } from '@tessera/shared/model';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ContainerNetwork } from '../../network/container-network.js';
import { StartError } from '../executor.js';
import { openRig, type Rig } from './testing/rig.js';

const MIB = 2 ** 20;

let rig: Rig;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
});

const shell = (script: string, ...rest: [Parameters<Rig['task']>[1]?, Parameters<Rig['task']>[2]?]) =>
  rig.run(rig.task(['sh', '-c', script], ...rest));

describe('how a command ends', () => {
  test('its exit code and what it wrote are kept, by stream', async () => {
    const result = await shell('echo out; echo err >&2; exit 3');

    expect(result).toEqual({ exitCode: 3, oomKilled: false, stdout: 'out\n', stderr: 'err\n' });
  });

  test('a signal is 128 and its number', async () => {
    const byTerm = await shell("sh -c 'kill -TERM $$' & wait $!; exit $?");
    const killed = rig.executor.controller(rig.task(['sleep', '1000'], { stopSignal: 'SIGKILL' }));
    const { signal } = new AbortController();
    await killed.prepare(signal);
    await killed.start(signal);

    expect(byTerm.exitCode).toBe(143);
    expect(await killed.shutdown(signal)).toMatchObject({ exitCode: 137, oomKilled: false });
    await killed.remove();
  });

  test.each([
    ['no-such-command', 127, 'exec: "no-such-command": executable file not found in $PATH'],
    ['/no/such/file', 127, 'exec: "/no/such/file": stat /no/such/file: no such file or directory'],
    ['/etc/passwd', 126, 'exec: "/etc/passwd": permission denied'],
    ['/etc', 126, 'exec: "/etc": is a directory'],
  ])('%s ends with Docker’s code %i and words', async (command, exitCode, message) => {
    const error = await rig.run(rig.task([command])).catch((each: unknown) => each);

    expect(error).toBeInstanceOf(StartError);
    expect(error).toMatchObject({ exitCode, message });
  });

  test('a file that is no program is 126, one whose interpreter is missing 127', async () => {
    const format = await rig.run(rig.task(['/bin/noise'], {})).catch((error: unknown) => error);
    const interpreter = await rig.run(rig.task(['/bin/orphan'])).catch((error: unknown) => error);

    expect(format).toMatchObject({ exitCode: 126, message: 'exec: "/bin/noise": exec format error' });
    expect(interpreter).toMatchObject({
      exitCode: 127,
      message: 'exec: "/bin/orphan": no such file or directory',
    });
  });

  test('a command that uses more memory than its limit is killed and reported as out of memory', async () => {
    const limits = {
      resources: { limits: { nanoCpus: 0, memoryBytes: 16 * MIB, pids: 0 }, reservations: undefined },
    };

    const result = await shell('exec dd if=/dev/zero of=/dev/null bs=200M count=1', {}, limits);
    const murdered = await shell("sh -c 'kill -KILL $$'; exit 9", {}, limits);

    expect(result).toMatchObject({ exitCode: 137, oomKilled: true });
    expect(murdered.oomKilled).toBe(false);
  });

  test('a stop signal that is ignored is followed by SIGKILL after the grace time', async () => {
    const controller = rig.executor.controller(
      rig.task(['sh', '-c', 'trap "" TERM; echo ready; while :; do sleep 0.05; done'], { stopGraceMs: 300 }),
    );
    const { signal } = new AbortController();
    await controller.prepare(signal);
    await controller.start(signal);
    await rig.logged(controller, 'ready');

    const before = Date.now();
    const status = await controller.shutdown(signal);

    expect(status).toMatchObject({ exitCode: 137, oomKilled: false });
    expect(Date.now() - before).toBeGreaterThanOrEqual(290);
    await controller.remove();
  });

  test('the stop signal is the spec’s', async () => {
    const controller = rig.executor.controller(
      rig.task(['sh', '-c', 'trap "exit 7" USR1; echo ready; while :; do sleep 0.05; done'], {
        stopSignal: 'USR1',
      }),
    );
    const { signal } = new AbortController();
    await controller.prepare(signal);
    await controller.start(signal);
    await rig.logged(controller, 'ready');

    expect(await controller.shutdown(signal)).toMatchObject({ exitCode: 7 });
    await controller.remove();
  });
});

describe('limits', () => {
  test('a container has no more processes than its limit', async () => {
    const result = await shell(
      'for i in 1 2 3 4 5 6 7 8 9 10; do sleep 5 & done 2>&1; echo over',
      {},
      { resources: { limits: { nanoCpus: 0, memoryBytes: 0, pids: 5 }, reservations: undefined } },
    );

    expect(result.stdout + result.stderr).toMatch(/can't fork/);
  });

  test('quota, memory and pids are written into its cgroups', async () => {
    const controller = rig.executor.controller(
      rig.task(
        ['sleep', '1000'],
        {},
        {
          resources: {
            limits: { nanoCpus: 5e8, memoryBytes: 64 * MIB, pids: 32 },
            reservations: { nanoCpus: 0, memoryBytes: 32 * MIB, pids: 0 },
          },
        },
      ),
    );
    const { signal } = new AbortController();
    await controller.prepare(signal);
    await controller.start(signal);
    const { containerId, pid } = controller.status()!;

    const usage = await rig.executor.cgroups.usage(containerId);

    expect(usage).toMatchObject({ memoryLimitBytes: 64 * MIB, pids: 1, oomKills: 0 });
    expect(usage.memoryBytes).toBeGreaterThan(0);
    expect(usage.cpuNanoSeconds).toBeGreaterThan(0n);
    const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    expect(groups).toContain(`${rig.options.cgroupParent}/containers/${containerId}`);
    await controller.remove();
    await expect(rig.executor.cgroups.usage(containerId)).rejects.toMatchObject({ kind: 'notFound' });
  });

  test('the soft limit of open files is the usual one, whatever the agent raised its own to', async () => {
    const { stdout } = await shell('ulimit -Sn; ulimit -Sc', {
      ulimits: [{ name: 'core', soft: 0, hard: 0 }],
    });

    expect(stdout).toBe('1024\n0\n');
  });
});

describe('the inside of a container', () => {
  test('every cgroup hierarchy reads as its root', async () => {
    const { stdout } = await shell('cat /proc/self/cgroup');

    for (const line of stdout.trim().split('\n')) expect(line).toMatch(/:\/$/);
  });

  test('root has Docker’s capabilities, none of them inheritable or ambient, and a filter', async () => {
    const { stdout } = await rig.run(rig.task(['cat', '/proc/self/status']));

    expect(stdout).toMatch(/CapPrm:\s*00000000a80425fb/);
    expect(stdout).toMatch(/CapEff:\s*00000000a80425fb/);
    expect(stdout).toMatch(/CapBnd:\s*00000000a80425fb/);
    expect(stdout).toMatch(/CapInh:\s*0000000000000000/);
    expect(stdout).toMatch(/CapAmb:\s*0000000000000000/);
    expect(stdout).toMatch(/Seccomp:\s*2/);
    expect(stdout).toMatch(/SigIgn:\s*0000000000000000/);
    expect(stdout).toMatch(/SigBlk:\s*0000000000000000/);
  });

  test('no_new_privs is set when asked for, with the filter installed after it', async () => {
    const { stdout } = await shell('grep -E "NoNewPrivs|Seccomp:" /proc/self/status', {
      noNewPrivileges: true,
    });

    expect(stdout).toBe('NoNewPrivs:\t1\nSeccomp:\t2\n');
  });

  test('capabilities are added and dropped by name', async () => {
    const { stdout } = await shell('grep CapBnd /proc/self/status', {
      capDrop: ['ALL'],
      capAdd: ['NET_ADMIN', 'CAP_CHOWN'],
    });

    expect(stdout).toBe('CapBnd:\t0000000000001001\n');
  });

  test('users and groups come from the image’s own files', async () => {
    const byName = await shell('id; grep -E "CapEff|CapPrm" /proc/self/status; echo $HOME', { user: 'app' });
    const byNumbers = await shell('id -u; id -g; echo $HOME', { user: '4711:wheel' });
    const withGroups = await shell('id -G', { user: 'app', groups: ['wheel', '77'] });

    expect(byName.stdout).toBe(
      'uid=1000(app) gid=1001(app) groups=1001(app),1002(extra)\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n/home/app\n',
    );
    expect(byNumbers.stdout).toBe('4711\n1003\n/\n');
    expect(withGroups.stdout).toBe('1001 77 1002 1003\n');
  });

  test.each([
    ['nobody-here', 'unable to find user nobody-here: no matching entries in passwd file'],
    ['root:no-group', 'unable to find group no-group: no matching entries in group file'],
    ['2147483648', 'user 2147483648: uids and gids must be in range 0-2147483647'],
    ['4294967296', 'user 4294967296: uids and gids must be in range 0-2147483647'],
  ])('user %s is refused', async (user, message) => {
    await expect(rig.run(rig.task(['true'], { user }))).rejects.toMatchObject({ exitCode: 125, message });
  });

  test('a start that fails before its network is made says why, and not that the network could not be made', async () => {
    const slow: ContainerNetwork = {
      files: () => ({ resolvConf: '', hosts: '' }),
      adopt: async () => {},
      attach: async ({ pid }) => {
        await vi.waitUntil(() => !existsSync(`/proc/${pid}/ns/net`), { timeout: 20_000 });
        throw new Error('the namespace is gone');
      },
      detach: async () => {},
    };
    const networked = await openRig({ network: slow });
    onTestFinished(() => networked.close());

    await expect(networked.run(networked.task(['true'], { user: 'nobody-here' }))).rejects.toMatchObject({
      message: expect.stringContaining('unable to find user nobody-here'),
    });
  });

  test('secrets of the host are masked, and what could change it is read-only', async () => {
    const { stdout } = await shell(
      [
        'wc -c < /proc/keys; ls /proc/acpi /sys/firmware',
        'for file in /proc/sys/kernel/hostname /proc/irq/default_smp_affinity /sys/kernel/uevent_seqnum /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do',
        '  test -e $file && echo 1 2>/dev/null > $file && echo "wrote $file"; done',
        'mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x 2>/dev/null && echo "made a group"',
        'mount -t tmpfs none /tmp 2>/dev/null && echo mounted; true',
      ].join('\n'),
    );

    expect(stdout).toBe('0\n/proc/acpi:\n\n/sys/firmware:\n');
  });

  test('devices outside the allow-list cannot be opened, even when their node can be made', async () => {
    const { stdout, stderr } = await shell(
      'mknod /tmp/mem c 1 1 && echo made; head -c 1 /tmp/mem; head -c 4 /dev/zero | wc -c',
    );

    expect(stdout).toBe('made\n4\n');
    expect(stderr).toMatch(/mem: Operation not permitted/);
  });

  test('its host name, files and environment are its own', async () => {
    const { stdout } = await shell(
      'hostname; cat /etc/hostname; echo $GREETING; echo $PATH; pwd; grep extra /etc/hosts',
      {
        hostname: 'box',
        env: ['GREETING=hello world'],
        dir: '/made/for/it',
        hosts: ['10.9.8.7 extra'],
      },
    );

    expect(stdout).toBe(
      'box\nbox\nhello world\n/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/made/for/it\n10.9.8.7 extra\n',
    );
  });

  test('only stdin, stdout and stderr are open, and stdin is its own null device', async () => {
    const { stdout } = await shell('ls /proc/$$/fd; readlink /proc/$$/fd/0; stat -c %t:%T -L /proc/$$/fd/0');

    expect(stdout).toBe('0\n1\n2\n/dev/null\n1:3\n');
  });

  test('it is process 1 and sees no other', async () => {
    const { stdout } = await shell('echo $$; ls /proc | grep -c "^[0-9]"');

    expect(stdout.split('\n').slice(0, 2)).toEqual(['1', expect.stringMatching(/^[234]$/)]);
  });

  test('mounts of the user are made, read-only where asked, with new targets', async () => {
    const { stdout, stderr } = await shell(
      'cat /deep/er/data/etc/passwd | head -n 1; touch /deep/er/data/x; df /scratch | tail -n 1; touch /scratch/y && echo wrote',
      {
        mounts: [
          Mount.fromPartial({
            type: 'tmpfs',
            source: '',
            target: '/scratch',
            readOnly: false,
            tmpfsSizeBytes: MIB,
          }),
          Mount.fromPartial({
            type: 'bind',
            source: rig.layer,
            target: '/deep/er/data',
            readOnly: true,
            tmpfsSizeBytes: 0,
          }),
        ],
      },
    );

    expect(stdout).toMatch(/^root:x:0:0.*\n.*1024.*\/scratch\nwrote\n$/);
    expect(stderr).toMatch(/Read-only file system/);
  });

  test('a missing working directory is made, in a read-only root and in a mount too', async () => {
    const { stdout } = await shell('pwd; stat -c %a:%u .', {
      readOnly: true,
      user: 'app',
      dir: '/not/there',
    });
    const scratch = Mount.fromPartial({
      type: 'tmpfs',
      source: '',
      target: '/scratch',
      readOnly: false,
      tmpfsSizeBytes: 0,
    });

    expect(stdout).toBe('/not/there\n755:0\n');
    expect(await shell('pwd', { readOnly: true, dir: '/scratch/deep', mounts: [scratch] })).toMatchObject({
      stdout: '/scratch/deep\n',
    });
  });

  test('a working directory that cannot be entered is named as the user gave it', async () => {
    const file = shell('true', { dir: '/etc/passwd' });
    await expect(file).rejects.toMatchObject({
      exitCode: 126,
      message: `working directory "/etc/passwd" (--workdir, or the image's) cannot be entered: not a directory`,
    });
    await expect(shell('true', { dir: '/etc/passwd/deep' })).rejects.toThrow(
      /"\/etc\/passwd\/deep" .*: not a directory/,
    );
  });

  test('a read-only root takes no writes, and a bind that is not there is refused by name', async () => {
    const { stderr } = await shell('touch /x; touch /dev/shm/y', { readOnly: true });
    const missing = Mount.fromPartial({
      type: 'bind',
      source: '/no/such',
      target: '/x',
      readOnly: false,
      tmpfsSizeBytes: 0,
    });

    expect(stderr).toBe('touch: /x: Read-only file system\n');
    await expect(shell('true', { mounts: [missing] })).rejects.toThrow(
      'invalid mount config for type "bind": bind source path does not exist: /no/such',
    );
  });

  test('sysctls of its own namespaces are set; the host’s are refused', async () => {
    const { stdout } = await shell(
      'cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax',
      {
        sysctls: { 'kernel.shmmax': '65536' },
      },
    );

    expect(stdout).toBe('0\n65536\n');
    await expect(shell('true', { sysctls: { 'kernel.panic': '1' } })).rejects.toThrow(
      /sysctl: "kernel.panic" is the host's own/,
    );
    await expect(shell('true', { sysctls: { 'net/../kernel/panic': '1' } })).rejects.toThrow(/sysctl/);
  });
});
