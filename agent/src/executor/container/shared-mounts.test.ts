import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { statPath } from '@tessera/native';
import { Mount } from '@tessera/shared/model';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { pathIn } from './path-in.js';
import { openRig, type Rig } from './testing/rig.js';

// Binds of a host whose mounts are shared, as those of most hosts are.

let rig: Rig;
const { signal } = new AbortController();

const mounts = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4])
    .filter((path) => path?.startsWith(rig.dir));

/** The runtime's own root lies on it, with all that containers have. */
beforeEach(async () => {
  rig = await openRig();
  execFileSync('mount', ['--bind', rig.dir, rig.dir]);
  execFileSync('mount', ['--make-shared', rig.dir]);
  mkdirSync(join(rig.dir, 'other'));
  writeFileSync(join(rig.dir, 'other/file'), 'other\n');
});

afterEach(async () => {
  execFileSync('umount', ['-R', '-l', rig.dir]);
  await rig.close();
});

const withMounts = (mounts: readonly object[]) => ({
  mounts: mounts.map((mount) => Mount.fromPartial(mount)),
});

test.each([
  { propagation: 'rshared' },
  { propagation: 'shared' },
  { propagation: 'rslave' },
  { propagation: 'rprivate', readOnly: true },
])('can be looked at from within several containers, and nothing stays of that: %o', async (how) => {
  const before = mounts();
  const started = [];
  for (let count = 0; count < 3; count++) {
    const bind = { type: 'bind', source: rig.dir, target: '/host', ...how };
    const script = 'while [ ! -e /host/go ]; do sleep 0.01; done; cat /host/other/file';
    const container = await rig.create(['sh', '-c', script], withMounts([bind]));
    const look = () =>
      container.live.useFiles(
        container.asked,
        (files, _, both) => statPath(files, pathIn('/host/other'), both),
        signal,
      );
    await look();
    await container.start();
    await look();
    started.push(container);
  }
  expect(mounts()).toEqual(before);

  writeFileSync(join(rig.dir, 'go'), '');
  for (const container of started) {
    await container.exit();
    await rig.heard(container, 'other\n');
    await container.remove();
  }

  expect(mounts()).toEqual(before);
});

test('gets none of a container’s mounts through one that it shares: they are refused', async () => {
  const bind = (target: string, propagation: string, source = rig.dir) => ({
    type: 'bind',
    source,
    target,
    propagation,
  });
  const before = mounts();
  const other = bind('/host/layer/tmp', 'rprivate', join(rig.dir, 'other'));

  await expect(rig.said(['true'], withMounts([bind('/host', 'rshared'), other]))).rejects.toThrow(
    /^mount \/host\/layer\/tmp: it would lie on a mount that is shared with the host/,
  );
  expect(mounts()).toEqual(before);
  const slave = withMounts([bind('/host', 'rslave'), other]);
  expect(await rig.said(['cat', '/host/layer/tmp/file'], slave)).toBe('other\n');
  expect(mounts()).toEqual(before);
});
