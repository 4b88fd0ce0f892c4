import { existsSync, mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger, systemRandom } from '@tessera/shared/env';
import { Volume } from '@tessera/shared/model';
import { FakeClock } from '@tessera/shared/testing';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Volumes } from './volumes.js';

let path: string;
let clock: FakeClock;
let errors: number;
let volumes: Volumes;

beforeEach(async () => {
  path = mkdtempSync(join(tmpdir(), 'ts-volumes-'));
  clock = new FakeClock();
  errors = 0;
  const logger = { ...silentLogger, error: () => void errors++ };
  volumes = await Volumes.open({ path, clock, random: systemRandom, logger });
});
afterEach(() => rmSync(path, { recursive: true }));

const wish = (name: string, volumeId: string) => ({
  name,
  volumeId,
  driver: 'local',
  labels: {},
  options: {},
});
const order = (name: string): [string, Volume] => [
  `id-${name}`,
  Volume.fromPartial({ id: `id-${name}`, name }),
];

test('removals that fail are tried again all together, each once at a time', async () => {
  for (const name of ['a', 'b', 'c']) await volumes.ensure(wish(name, `id-${name}`));
  // Nothing can be thrown away.
  rmdirSync(join(path, '.trash'));
  writeFileSync(join(path, '.trash'), '');
  volumes.apply(new Map(['a', 'b', 'c'].map(order)));

  for (const count of [3, 6, 9, 12]) {
    await vi.waitUntil(() => errors >= count);
    expect(errors).toBe(count);
    clock.advance(5_000);
  }

  await vi.waitUntil(() => errors === 15);
  rmSync(join(path, '.trash'));
  mkdirSync(join(path, '.trash'));
  clock.advance(5_000);
  await vi.waitUntil(() => ['a', 'b', 'c'].every((name) => !existsSync(join(path, name))));
  expect(errors).toBe(15);
});

test('one that another of its name is in the way of is made once that can be put aside', async () => {
  await volumes.ensure(wish('data', 'of-before'));
  rmdirSync(join(path, '.left'));
  writeFileSync(join(path, '.left'), '');
  await expect(volumes.ensure(wish('data', 'of-now'))).rejects.toThrow();
  rmSync(join(path, '.left'));
  mkdirSync(join(path, '.left'));

  await volumes.ensure(wish('data', 'of-now'));

  expect(existsSync(join(path, '.left/data.of-before/_data'))).toBe(true);
  expect(volumes.states()).toMatchObject([{ name: 'data', volumeId: 'of-now' }]);
});
