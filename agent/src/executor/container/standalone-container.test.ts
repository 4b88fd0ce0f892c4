import { existsSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { delay, newHexId, systemClock, systemRandom } from '@tessera/shared/env';
import { Container, ContainerPlacement } from '@tessera/shared/model';
import type { ContainerAssignment } from '@tessera/shared/wire';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ContainerExecutor } from './container-executor.js';
import type { StandaloneContainer } from './standalone-container.js';
import { openRig, type Rig, readLog } from './testing/rig.js';

// Containers that are no task's, on the real kernel.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const { signal } = new AbortController();
const OWN = { signal: '', timeoutMs: -1 };

let rig: Rig;
beforeEach(async () => {
  rig = await openRig();
});
afterEach(async () => {
  await rig.close();
});

interface Part {
  readonly spec?: object;
  readonly host?: object;
}

function assignment(args: readonly string[], { spec = {}, host = {} }: Part = {}): ContainerAssignment {
  const container = Container.fromPartial({
    id: newHexId(systemRandom),
    spec: { image: 'busybox', args: [...args], stopGraceMs: -1, ...spec },
    host: { networkMode: 'default', resources: { memorySwappiness: -1 }, ...host },
  } as never);
  const placement = ContainerPlacement.create({ containerId: container.id, nodeId: 'n' });
  return { container, placement, volumes: [] };
}

const sh = (script: string, part: Part = {}) => assignment(['sh', '-c', script], part);

const dataDirOf = ({ id }: StandaloneContainer) => join(rig.options.dataDir, 'containers', id);

/** Makes it, runs it to its end, and tells what it said; it stays. */
async function runOnce(asked: ContainerAssignment) {
  const container = rig.executor.container(asked.container!.id);
  await container.create(asked, signal);
  await container.start(asked, signal);
  await container.ended(signal);
  const { life } = container;
  if (life.kind !== 'exited') throw new Error(`it is ${life.kind}`);
  return { container, exitCode: life.exit.exitCode, ...readLog(dataDirOf(container)) };
}

/** What it says, with nothing left of it. */
async function said(asked: ContainerAssignment): Promise<string> {
  const { container, stdout, stderr } = await runOnce(asked);
  await container.remove();
  return stdout + stderr;
}

async function nextAgent(ids: readonly string[]): Promise<ContainerExecutor> {
  const executor = await ContainerExecutor.open(rig.options);
  await executor.recover(new Set(ids));
  return executor;
}

describe('runs', () => {
  test('its files stay from one run to the next, and each run has an end of its own', async () => {
    const asked = sh('echo run >> /runs; exit $(wc -l < /runs)');
    const { container, exitCode } = await runOnce(asked);
    expect(exitCode).toBe(1);
    for (const code of [2, 3]) {
      await container.start(asked, signal);
      await container.ended(signal);
      expect(container.life).toMatchObject({ kind: 'exited', exit: { exitCode: code } });
    }
    await container.remove();
    expect(container.life.kind).toBe('none');
    expect(existsSync(dataDirOf(container))).toBe(false);
  });

  test('nothing of what it says is kept by the log driver none; local keeps it in few, small parts', async () => {
    const logOf = async (logDriver: object) => {
      const { container, stdout } = await runOnce(
        sh('i=0; while [ $((i=i+1)) -le 3000 ]; do echo line $i; done; printf last', { host: { logDriver } }),
      );
      const directory = join(dataDirOf(container), 'log');
      const segments = existsSync(directory) ? readdirSync(directory).length : 0;
      await container.remove();
      return { lines: stdout.split('\n').filter(Boolean), segments };
    };

    expect(await logOf({ name: 'none' })).toEqual({ lines: [], segments: 0 });
    const { lines, segments } = await logOf({
      name: 'local',
      options: { 'max-size': '16k', 'max-file': '2' },
    });
    expect(segments).toBe(2);
    expect(lines.at(-1)).toBe('last');
    const small = await logOf({ name: 'json-file', options: { 'max-size': '1k' } });
    expect(small.segments).toBe(1);
    expect(small.lines.at(-1)).toBe('last');
    expect(small.lines.length).toBeLessThan(1024 / 'line 2999'.length);
  });

  test('a start that fails leaves it created, and it can be started when what was missing is there', async () => {
    const asked = assignment(['/work/tool']);
    const container = rig.executor.container(asked.container!.id);
    await container.create(asked, signal);
    await expect(container.start(asked, signal)).rejects.toMatchObject({ name: 'StartError', exitCode: 127 });
    expect(container.life.kind).toBe('created');
    await expect(container.start(asked, signal)).rejects.toMatchObject({ exitCode: 127 });
    expect(await rig.executor.cgroups.list()).toEqual([]);
    await container.remove();
  });

  test('it is stopped by its own signal or the one asked for, and killed after the time', async () => {
    const asked = sh('trap "exit 5" USR1; trap : TERM; echo up; while :; do sleep 0.05; done', {
      spec: { stopSignal: 'USR1' },
    });
    const container = rig.executor.container(asked.container!.id);
    await container.create(asked, signal);
    await container.start(asked, signal);
    while (!readLog(dataDirOf(container)).stdout.includes('up')) await delay(systemClock, 5);
    await container.stop(OWN, signal);
    expect(container.life).toMatchObject({ exit: { exitCode: 5 } });

    await container.start(asked, signal);
    await container.stop({ signal: 'TERM', timeoutMs: 50 }, signal);
    expect(container.life).toMatchObject({ exit: { exitCode: 137 } });
    await expect(container.kill(15)).rejects.toMatchObject({ kind: 'conflict' });
    await container.remove();
  });

  test('a paused one does nothing, is found paused by the next agent, and can be stopped', async () => {
    const asked = sh('while :; do echo x >> /count; sleep 0.01; done');
    const container = rig.executor.container(asked.container!.id);
    await container.create(asked, signal);
    await container.start(asked, signal);
    const count = join(dataDirOf(container), 'upper/count');
    const size = () => (existsSync(count) ? readFileSync(count).length : 0);
    while (size() < 6) await delay(systemClock, 5);
    await container.pause();
    const before = size();
    await delay(systemClock, 100);
    expect(size()).toBe(before);

    const next = (await nextAgent([container.id])).container(container.id);
    expect(next.life.kind).toBe('paused');
    await next.unpause();
    while (size() === before) await delay(systemClock, 5);
    await next.pause();
    await next.stop({ signal: 'KILL', timeoutMs: 1000 }, signal);
    expect(next.life).toMatchObject({ kind: 'exited', exit: { exitCode: 137 } });
    await next.remove();
  });
});

describe('a client', () => {
  const both = { stdout: true, stderr: true, history: false };
  async function readAll(client: AsyncIterable<{ readonly stream: string; readonly bytes: Uint8Array }>) {
    const text = { stdout: '', stderr: '' };
    for await (const { stream, bytes } of client)
      text[stream as 'stdout' | 'stderr'] += Buffer.from(bytes).toString();
    return text;
  }

  test('that attaches before the start has every byte of that run and none of another, unless it asks', async () => {
    const asked = sh('echo run >> /runs; echo out $(wc -l < /runs); echo oh >&2; seq 2000');
    const { container } = await runOnce(asked);
    const client = await container.attach(both);
    const errors = await container.attach({ stdout: false, stderr: true, history: true });
    await container.start(asked, signal);
    const lines = Array.from({ length: 2000 }, (_, index) => `${index + 1}\n`).join('');
    expect(await readAll(client)).toEqual({ stdout: `out 2\n${lines}`, stderr: 'oh\n' });
    expect(await readAll(errors)).toEqual({ stdout: '', stderr: 'oh\noh\n' });
    await container.remove();
  });

  test('that attaches before a start that fails early is told that nothing comes', async () => {
    const asked = sh('true', { host: { networkMode: `container:${'0'.repeat(64)}` } });
    const container = rig.executor.container(asked.container!.id);
    await container.create(asked, signal);
    const client = await container.attach(both);
    await expect(container.start(asked, signal)).rejects.toThrow('cannot join network of a non running');
    expect(await readAll(client)).toEqual({ stdout: '', stderr: '' });
    await container.remove();
  });

  test('that lets go before the run ends reads no more', async () => {
    const asked = sh('echo up; sleep 1d');
    const container = rig.executor.container(asked.container!.id);
    await container.create(asked, signal);
    const client = await container.attach(both);
    const idle = await container.attach(both);
    idle.close();
    expect(await readAll(idle)).toEqual({ stdout: '', stderr: '' });
    await container.start(asked, signal);
    for await (const { bytes } of client) {
      expect(Buffer.from(bytes).toString()).toBe('up\n');
      client.close();
    }
    await container.remove();
  });
});

describe('the next agent', () => {
  test('finds it created, running and ended as it is, and removes what nobody knows', async () => {
    const [made, running, ended, unknown] = [sh('true'), sh('sleep 1d'), sh('exit 9'), sh('sleep 1d')];
    const ids = [made, running, ended].map(({ container }) => container!.id);
    await rig.executor.container(made.container!.id).create(made, signal);
    for (const asked of [running, unknown]) {
      const container = rig.executor.container(asked.container!.id);
      await container.create(asked, signal);
      await container.start(asked, signal);
    }
    await runOnce(ended);

    const next = await nextAgent(ids);
    const lives = ids.map((id) => next.container(id).life);
    expect(lives).toMatchObject([
      { kind: 'created' },
      { kind: 'running', pid: expect.any(Number) },
      { kind: 'exited', exit: { exitCode: 9 } },
    ]);
    expect(await next.cgroups.list()).toEqual([running.container!.id]);
    await next.container(ids[0]!).start(made, signal);
    await next.container(ids[0]!).ended(signal);
    await next.container(ids[1]!).stop({ signal: 'KILL', timeoutMs: 1000 }, signal);
    await next.container(ids[1]!).start(running, signal);
    for (const id of ids) await next.container(id).remove();
  });

  test('tells a run that a reboot ended from one that had ended before, and from none at all', async () => {
    const asked = sh('exit 3');
    const { container } = await runOnce(asked);
    const start = join(dataDirOf(container), 'start.json');
    writeFileSync(start, readFileSync(start, 'utf8').replace(/"bootId":"[^"]*"/, '"bootId":"of-before"'));
    const lifeOf = async () => (await nextAgent([container.id])).container(container.id).life;
    expect(await lifeOf()).toMatchObject({ kind: 'exited', exit: { exitCode: 3 } });

    rmSync(join(dataDirOf(container), 'exit'));
    expect(await lifeOf()).toMatchObject({
      kind: 'exited',
      exit: { exitCode: 255, error: 'host was restarted' },
    });
    rmSync(join(dataDirOf(container), 'exit'));
    rmSync(start);
    expect(await lifeOf()).toEqual({ kind: 'created' });
    await container.remove();
  });
});

describe('HostConfig', () => {
  test('limits are in force: memory, swap, processes, CPU, processors', async () => {
    const { mode } = rig.executor.cgroups;
    const resources = {
      memoryBytes: 64 << 20,
      memorySwapBytes: -1,
      memoryReservationBytes: 32 << 20,
      memorySwappiness: mode === 'v2' ? -1 : 10,
      cpuShares: 512,
      cpuQuotaUs: 50_000,
      cpuPeriodUs: 200_000,
      cpusetCpus: '0',
      pidsLimit: 33,
    };
    const files =
      mode === 'v2'
        ? 'memory.max memory.swap.max memory.low cpu.max cpuset.cpus pids.max'
        : 'memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes memory/memory.soft_limit_in_bytes ' +
          'memory/memory.swappiness cpu*/cpu.shares cpu*/cpu.cfs_quota_us cpu*/cpu.cfs_period_us pids/pids.max';
    const out = await said(
      sh(`cd /sys/fs/cgroup; cat ${files}; grep Cpus_allowed_list /proc/self/status`, {
        host: { resources },
      }),
    );
    const expected =
      mode === 'v2'
        ? ['67108864', 'max', '33554432', '50000 200000', '0', '33']
        : ['67108864', '9223372036854771712', '33554432', '10', '512', '50000', '200000', '33'];
    expect(out.trim().split('\n')).toEqual([...expected, 'Cpus_allowed_list:\t0']);
  });

  test('an update changes the limits of what runs, up and down', async () => {
    const limited = (memoryBytes: number, cpusetCpus = '') =>
      ({ host: { resources: { memoryBytes, memorySwappiness: -1, cpusetCpus, pidsLimit: 40 } } }) as const;
    const asked = sh('sleep 1d', limited(64 << 20));
    const container = rig.executor.container(asked.container!.id);
    await container.create(asked, signal);
    await container.start(asked, signal);
    for (const megabytes of [128, 32, 256]) {
      await container.update({
        ...asked,
        container: { ...sh('', limited(megabytes << 20, '0')).container!, id: container.id },
      });
      expect((await rig.executor.cgroups.usage(container.id)).memoryLimitBytes).toBe(megabytes << 20);
    }
    const { life } = container;
    const pid = life.kind === 'running' ? life.pid : 0;
    expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(/^Cpus_allowed_list:\t0$/m);
    await container.remove();
  });

  test('devices are there, with the rights given, and no others', async () => {
    const resources = {
      memorySwappiness: -1,
      devices: [{ pathOnHost: '/dev/zero', pathInContainer: '/dev/nought', permissions: 'r' }],
      deviceCgroupRules: ['c 10:229 rwm'],
    };
    const out = await said(
      sh('ls -l /dev/nought; head -c 3 /dev/nought | wc -c; mknod /mem c 1 1 && cat /mem 2>&1 | head -c 60', {
        host: { resources },
      }),
    );
    expect(out).toMatch(/1,\s+5 .*\/dev\/nought\n3\n.*Operation not permitted/);
  });

  test('namespaces of the host are shared where asked, and host names, sysctls and masks follow', async () => {
    const shared = await said(
      sh('for ns in net pid ipc uts; do readlink /proc/self/ns/$ns; done; sleep 1d &', {
        host: { networkMode: 'host', pidMode: 'host', ipcMode: 'host', utsMode: 'host' },
      }),
    );
    const own = ['net', 'pid', 'ipc', 'uts'].map((name) => readlinkSync(`/proc/self/ns/${name}`));
    expect(shared.trim().split('\n').slice(0, 4)).toEqual(own);
    // What it left running in the host's pid namespace has gone with it.
    expect(await rig.executor.cgroups.list()).toEqual([]);

    const apart = await said(
      sh('hostname; cat /proc/sys/kernel/domainname; ls /proc/keys; df -k /dev/shm | tail -n 1', {
        spec: { hostname: 'box' },
        host: {
          domainname: 'example.org',
          shmSizeBytes: 8 << 20,
          securityOptions: ['systempaths=unconfined'],
        },
      }),
    );
    expect(apart).toMatch(/^box\nexample\.org\n\/proc\/keys\n\S+\s+8192 /);
  });

  test('what cannot be honoured is refused by its name, at the create', async () => {
    const refusal = async (host: object, spec: object = {}) => {
      const asked = sh('true', { host, spec });
      const container = rig.executor.container(asked.container!.id);
      await expect(container.create(asked, signal)).rejects.toMatchObject({ name: 'ClusterError' });
      return container.create(asked, signal).catch((error: Error) => error.message);
    };
    expect(await refusal({ pidMode: 'elsewhere' })).toBe('invalid PID mode: elsewhere');
    expect(await refusal({ ipcMode: 'container:' })).toBe('invalid IPC mode: container:');
    expect(await refusal({ securityOptions: ['colour=blue'] })).toBe(
      'invalid --security-opt 2: "colour=blue"',
    );
    expect(await refusal({ securityOptions: ['blue'] })).toBe('invalid --security-opt 1: "blue"');
    expect(await refusal({ securityOptions: ['seccomp={"defaultAction":"SCMP_ACT_NO"}'] })).toContain(
      'Decoding seccomp profile failed: defaultAction: must be one of SCMP_ACT_KILL',
    );
    expect(await refusal({ networkMode: 'host' }, { sysctls: { 'net.ipv4.ip_forward': '1' } })).toContain(
      'net.ipv4.ip_forward',
    );
    expect(
      await refusal({ resources: { memorySwappiness: -1, devices: [{ pathOnHost: '/dev/nope' }] } }),
    ).toContain('/dev/nope');
    expect(
      await refusal({ resources: { memorySwappiness: -1, memoryBytes: 64 << 20, memorySwapBytes: 1 << 20 } }),
    ).toBe('Minimum memoryswap limit should be larger than memory limit, see usage');
    expect(await rig.executor.cgroups.list()).toEqual([]);
  });
});
