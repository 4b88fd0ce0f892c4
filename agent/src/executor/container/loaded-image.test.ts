import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Logger, silentLogger } from '@tessera/shared/env';
import { Healthcheck } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { LocalImageStore } from '../../image/local-image-store.js';
import { type BusyboxOptions, busyboxImage, makeArchive } from '../../image/testing/index.js';
import { inPieces, NOTHING, StoreFixture } from '../../image/testing/store-fixture.js';
import { openRig, type Rig } from './testing/rig.js';

// From an archive to a container and back to nothing: the image store and the executor together.

// 127 layers take a minute to unpack in an emulated machine.
vi.setConfig({ testTimeout: 240_000 });

const { signal } = new AbortController();
let fixture: StoreFixture;
let store: LocalImageStore;
let rig: Rig;
let warnings: string[];
beforeEach(async () => {
  fixture = new StoreFixture();
  store = await fixture.open();
  warnings = [];
  const logger: Logger = {
    ...silentLogger,
    warn: (_, message) => warnings.push(message),
    child: () => logger,
  };
  rig = await openRig({ images: store, logger });
});
afterEach(async () => {
  await rig.close();
  fixture.remove();
});

/** Loads an image of busybox; with its id, and what the one who loads it is told. */
async function load(options: BusyboxOptions): Promise<{ id: string; told: string[] }> {
  const archive = await makeArchive([await busyboxImage(options)]);
  const told: string[] = [];
  const [image] = await store.load(inPieces(archive), (line) => told.push(line), signal);
  return { id: image!.id, told };
}

const mountCount = () => readFileSync('/proc/self/mountinfo', 'utf8').split('\n').length;

test('an image of 127 layers is loaded, run and removed without a trace', async () => {
  const mounts = mountCount();
  const { id } = await load({ layers: 127 });
  const task = rig.task(
    ['sh', '-c', 'cat /www/index.html /layers/2 /layers/127; ls /layers | wc -l; echo x > /layers/2'],
    {
      imageDigest: id,
    },
  );

  const { exitCode, stdout } = await rig.run(task);
  const again = await rig.run(rig.task(['cat', '/layers/2'], { imageDigest: id }));

  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: '<h1>It works!</h1>\n2\n127\n126\n' });
  // What a container writes is its own, whatever layer it covers.
  expect(again.stdout).toBe('2\n');
  await store.remove(id);
  await rig.executor.idle();
  expect(fixture.count()).toEqual(NOTHING);
  expect(readdirSync(join(rig.options.dataDir, 'containers'))).toEqual([]);
  expect(readdirSync(join(rig.options.runDir, 'containers'))).toEqual([]);
  expect(await rig.executor.cgroups.list()).toEqual([]);
  expect(mountCount()).toBe(mounts);
});

test('a HEALTHCHECK that is not run is told to the one who loads the image, and once to the log', async () => {
  const config = { Healthcheck: { Test: ['CMD-SHELL', 'exit 1'], Interval: 1e9 } };
  const checked = await load({ names: ['checked:1'], config });
  const plain = await load({ names: ['plain:1'], config: { Healthcheck: { Test: ['NONE'] } } });

  expect(checked.told).toEqual([
    'Loaded image: checked:1',
    expect.stringMatching(/^Warning: checked:1 has a HEALTHCHECK/),
  ]);
  expect(plain.told).toEqual(['Loaded image: plain:1']);

  const off = Healthcheck.fromPartial({ test: ['NONE'] });
  await rig.run(rig.task(['true'], { image: 'checked:1', imageDigest: checked.id, healthcheck: off }));
  await rig.run(rig.task(['true'], { image: 'plain:1', imageDigest: plain.id }));
  expect(warnings).toEqual([]);
  for (let round = 0; round < 2; round++)
    await rig.run(rig.task(['true'], { image: 'checked:1', imageDigest: checked.id }));
  expect(warnings).toEqual([
    expect.stringMatching(/^image checked:1 has a HEALTHCHECK, which is not run yet/),
  ]);
});
