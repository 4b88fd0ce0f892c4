import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { processIdentity } from '@tessera/shared/process';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EtcdKv } from '../store/kv/etcd-kv.js';
import { EtcdSupervisor, type EtcdSupervisorOptions } from './etcd-supervisor.js';
import { memberFlags } from './flags.js';

const env = { clock: systemClock, random: systemRandom, logger: silentLogger };
// It must not outlive a test that is killed.
const COMMAND = ['setpriv', '--pdeathsig', 'KILL', '--', '/usr/bin/etcd'];

let directory: string;
let pids: number[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tessera-etcd-'));
  pids = [];
});
afterEach(() => {
  for (const pid of pids) if (processIdentity(pid)) process.kill(pid, 'SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

const member = () => ({ name: 'm1', dataDir: join(directory, 'etcd'), runDir: join(directory, 'run') });
const supervise = (options: Partial<EtcdSupervisorOptions> = {}) =>
  new EtcdSupervisor({ ...env, ...member(), command: COMMAND, ...options });

async function start(supervisor: EtcdSupervisor): Promise<number> {
  await supervisor.start();
  pids.push(supervisor.pid!);
  return supervisor.pid!;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await delay(systemClock, 20);
}

async function withClient<T>({ endpoint }: EtcdSupervisor, act: (kv: EtcdKv) => Promise<T>): Promise<T> {
  const kv = new EtcdKv(env, { endpoints: [endpoint] });
  try {
    return await act(kv);
  } finally {
    kv.close();
  }
}
const put = (supervisor: EtcdSupervisor, key: string) =>
  withClient(supervisor, (kv) =>
    kv.txn({ compares: [], success: [{ kind: 'put', key, value: Buffer.from('x') }], failure: [] }),
  );
const has = (supervisor: EtcdSupervisor, key: string) =>
  withClient(supervisor, async (kv) => (await kv.range({ key })).kvs.length === 1);

test('etcd lives on when its manager goes, and the next one takes over the same process', async () => {
  const first = supervise();
  const pid = await start(first);
  await put(first, '/kept');
  await first.close();

  const second = supervise();
  const adopted = await start(second);

  expect(adopted).toBe(pid);
  expect(await has(second, '/kept')).toBe(true);
  await second.stop();
  expect(processIdentity(pid)).toBeUndefined();
});

test('etcd is found also when its manager was killed before it noted the pid', async () => {
  const first = supervise();
  const pid = await start(first);
  await first.close();
  rmSync(join(directory, 'run', 'etcd.pid'));

  const second = supervise();

  expect(await start(second)).toBe(pid);
  await second.stop();
});

test('an etcd that is killed is started again with its data, as an adopted one is', async () => {
  const first = supervise();
  await start(first);
  await put(first, '/kept');
  for (const supervisor of [first, supervise()]) {
    const pid = await start(supervisor);
    process.kill(pid, 'SIGKILL');
    await until(() => supervisor.pid !== pid && supervisor.pid !== undefined);
    pids.push(supervisor.pid!);
    await until(() => existsSync(supervisor.endpoint.slice('unix:'.length)));
    await supervisor.close();
  }

  const last = supervise();
  await start(last);

  expect(await has(last, '/kept')).toBe(true);
  await last.stop();
});

test('a pid file that names another process is not believed', async () => {
  const first = supervise();
  await start(first);
  await first.stop();
  const bystander = spawn('sleep', ['1000']);
  const identity = processIdentity(bystander.pid!);
  writeFileSync(join(directory, 'run', 'etcd.pid'), JSON.stringify(identity));

  const second = supervise();
  const pid = await start(second);
  await second.stop();

  expect(pid).not.toBe(bystander.pid);
  expect(processIdentity(bystander.pid!)).toBeDefined();
  bystander.kill('SIGKILL');
  await once(bystander, 'exit');
});

test('a first start that was killed halfway is taken up, whatever it left', async () => {
  const { dataDir, runDir } = member();
  for (let round = 0; round < 8; round++) {
    const first = supervise();
    const starting = first.start().catch(() => {});
    // The worst moment: the log is there, its first entry not yet. Later ones are met by waiting on, round by round.
    await until(() => existsSync(join(dataDir, 'member', 'wal', '0.tmp')) && first.pid !== undefined);
    await delay(systemClock, round);
    const pid = first.pid!;
    process.kill(pid, 'SIGKILL');
    await first.close();
    await starting;
    await until(() => processIdentity(pid) === undefined);
    rmSync(join(dataDir, 'member', 'wal', '0.tmp'), { force: true });
  }

  const supervisor = supervise();
  await start(supervisor);
  await put(supervisor, '/works');

  expect(await has(supervisor, '/works')).toBe(true);
  await supervisor.remove();
  expect(existsSync(dataDir) || existsSync(runDir)).toBe(false);
}, 60_000);

test('data that has once been served is kept, however often etcd is killed while it starts', async () => {
  const first = supervise();
  await start(first);
  await put(first, '/kept');
  await first.stop();
  for (let round = 0; round < 5; round++) {
    const killed = supervise();
    const starting = killed.start().catch(() => {});
    await until(() => killed.pid !== undefined);
    await delay(systemClock, round * 10);
    const pid = killed.pid!;
    const closed = killed.close();
    process.kill(pid, 'SIGKILL');
    await Promise.all([closed, starting]);
    await until(() => processIdentity(pid) === undefined);
  }

  const last = supervise();
  await start(last);

  expect(await has(last, '/kept')).toBe(true);
  await last.stop();
}, 60_000);

test('an etcd that cannot run is tried again ever more slowly, and the reason is told', async () => {
  const count = join(directory, 'count');
  const script = `echo start >> ${count}; echo 'no space left' >&2; exit 1`;
  const supervisor = supervise({ command: ['sh', '-c', script] });

  const starting = supervisor.start().catch((error: Error) => error.message);
  const starts = () => (existsSync(count) ? readFileSync(count, 'utf8').split('\n').length - 1 : 0);
  await until(() => starts() >= 4);
  await supervisor.close();

  expect(await starting).toContain('no space left');
  expect(starts()).toBeLessThan(10);
});

test('a program that is not there is named', async () => {
  const supervisor = supervise({ command: ['/nonexistent/etcd'] });

  const starting = supervisor.start().catch((error: Error) => error.message);
  await delay(systemClock, 200);
  await supervisor.close();

  expect(await starting).toContain('/nonexistent/etcd');
});

test('a member compacts by itself, has room for 8 GiB and listens on no network', () => {
  const flags = memberFlags(member());

  expect(flags).toContain('--auto-compaction-retention=1h');
  expect(flags).toContain('--quota-backend-bytes=8589934592');
  expect(flags.filter((flag) => flag.startsWith('--listen')).every((flag) => flag.includes('=unix://'))).toBe(
    true,
  );
});
