import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { delay, silentLogger, systemClock, systemRandom } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { aService, FakeClock } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { EtcdKv } from '../store/kv/etcd-kv.js';
import type { Kv, KvStatus } from '../store/kv/kv.js';
import { MemoryKv } from '../store/kv/memory-kv.js';
import { createStore } from '../store/store.js';
import { EtcdSupervisor } from './etcd-supervisor.js';
import { SpaceKeeper } from './space-keeper.js';

const env = { clock: systemClock, random: systemRandom, logger: silentLogger };

test('an etcd that reached its quota refuses writes as such, is compacted, and takes them again', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tessera-space-'));
  const supervisor = new EtcdSupervisor({
    ...env,
    name: 'space',
    dataDir: join(directory, 'data'),
    runDir: join(directory, 'run'),
    command: ['setpriv', '--pdeathsig', 'KILL', '--', '/usr/bin/etcd'],
    quotaBytes: 8 * 2 ** 20,
    spaceEveryMs: 500,
  });
  await supervisor.start();
  const kv = new EtcdKv(env, { endpoints: [supervisor.endpoint] });
  const store = await createStore(kv, { ...env, managerId: 'm1' });
  // One object written over and over: all but its last form is history.
  const write = (count: number) =>
    store.update((tx) =>
      tx.put('services', aService({ id: 's1' }, { labels: { big: `${count}`.padEnd(2 ** 19, 'x') } })),
    );

  let refused: unknown;
  for (let count = 0; !refused; count++) {
    await write(count).catch((error: unknown) => {
      refused = error;
    });
  }
  const again = async () => {
    for (;;) {
      try {
        return await write(-1);
      } catch (error) {
        if (!(error instanceof ClusterError) || error.kind !== 'resourceExhausted') throw error;
        await delay(systemClock, 100);
      }
    }
  };
  await again();

  expect(refused).toMatchObject({ kind: 'resourceExhausted' });
  expect(store.view().services.get('s1')?.spec?.labels.big).toMatch(/^-1/);
  expect((await kv.status()).sizeBytes).toBeLessThan(8 * 2 ** 20);
  store.close();
  kv.close();
  await supervisor.stop();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

/** A store of a given size that notes what is done to it. */
function sized(status: Partial<KvStatus>): { kv: Kv; calls: string[] } {
  const calls: string[] = [];
  const kv = new MemoryKv(new FakeClock());
  const base = { revision: 9, sizeBytes: 0, usedBytes: 0, outOfSpace: false };
  kv.status = async () => ({ ...base, ...status });
  kv.compact = async (revision) => void calls.push(`compact ${revision}`);
  kv.defragment = async () => void calls.push('defragment');
  kv.clearSpaceAlarm = async () => void calls.push('clear');
  return { kv, calls };
}
const MB = 2 ** 20;

for (const [what, status, expected] of [
  ['a small database', { sizeBytes: 50 * MB, usedBytes: MB }, []],
  ['a large one that is in use', { sizeBytes: 500 * MB, usedBytes: 400 * MB }, []],
  ['a large one that is half free', { sizeBytes: 500 * MB, usedBytes: 200 * MB }, ['defragment']],
  ['one out of space', { outOfSpace: true }, ['compact 9', 'defragment', 'clear']],
] as const) {
  test(`of ${what} the keeper does: ${expected.join(', ') || 'nothing'}`, async () => {
    const { kv, calls } = sized(status);
    const signal = new AbortController().signal;
    const options = { clock: new FakeClock(), logger: silentLogger, quotaBytes: 8 * 2 ** 30, signal };

    await new SpaceKeeper(kv, options).look();

    expect(calls).toEqual(expected);
  });
}
