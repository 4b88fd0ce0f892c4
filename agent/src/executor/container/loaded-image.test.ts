import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
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
beforeEach(async () => {
  fixture = new StoreFixture();
  store = await fixture.open();
  rig = await openRig({ images: store });
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

/** Mounts with a part in what is tested here; others come and go beside it. */
const ownMounts = () => {
  const directories = [rig.options.dataDir, rig.options.runDir, fixture.directory];
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => directories.some((directory) => line.includes(directory)));
};

test('an image of 127 layers is loaded, run and removed without a trace', async () => {
  const mounts = ownMounts();
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
  expect(ownMounts()).toEqual(mounts);
});

/** A check that counts its calls, and is content from the third to the fifth. */
const FICKLE = 'n=$(cat /n || echo 0); echo $((n+1)) > /n; test $n -ge 2 -a $n -lt 5';

async function checked(test: string, own?: Healthcheck) {
  const config = { Healthcheck: { Test: ['CMD-SHELL', test], Interval: 2e7, Retries: 3 } };
  const { id } = await load({ names: ['checked:1'], config });
  const part = { image: 'checked:1', imageDigest: id, ...(own ? { healthcheck: own } : {}) };
  const controller = rig.executor.controller(
    rig.task(['sh', '-c', 'trap "exit 3" TERM; while :; do sleep 0.02; done'], part),
  );
  await controller.prepare(signal);
  await controller.start(signal);
  return controller;
}

test("a task is ready once its image's HEALTHCHECK is content, and is stopped when it is so no longer", async () => {
  const controller = await checked(FICKLE);

  await controller.ready(signal);
  expect(controller.status()?.pid).toBeGreaterThan(0);

  const exit = await controller.wait(signal);
  expect(exit).toMatchObject({ exitCode: 3, error: 'dockerexec: unhealthy container' });
  await controller.remove();
});

test('one that is never well is stopped and not ready', async () => {
  const controller = await checked('false');

  await expect(controller.ready(signal)).rejects.toThrow('dockerexec: unhealthy container');

  expect(await controller.wait(signal)).toMatchObject({ exitCode: 3 });
  await controller.remove();
});

test("the user's own check comes before the image's, NONE switches it off", async () => {
  const off = await checked('false', Healthcheck.fromPartial({ test: ['NONE'] }));
  await off.ready(signal);
  expect(off.status()?.pid).toBeGreaterThan(0);
  await off.remove();

  const own = await checked('false', Healthcheck.fromPartial({ test: ['CMD', 'true'] }));
  await own.ready(signal);
  expect(own.status()?.pid).toBeGreaterThan(0);
  await own.remove();
});
