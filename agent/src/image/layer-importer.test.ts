import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digestOf } from '@tessera/shared/digest';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { compress, makeLayer } from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';

let fixture: StoreFixture;
beforeEach(() => {
  fixture = new StoreFixture();
});
afterEach(() => fixture.remove());

const SIGNAL = new AbortController().signal;
const CONFIG = { architecture: 'amd64', os: 'linux', config: { Cmd: ['/hello'] }, comment: 'mine' };
const wanted = { config: Buffer.from(JSON.stringify(CONFIG)), names: ['docker.io/library/own:1'] };
const files = () => makeLayer([{ name: 'hello', content: 'hello, world' }]);

test.each(['plain', 'gzip', 'zstd'] as const)(
  'a %s tar becomes an image of one layer, which can be run and is kept as it came',
  async (compression) => {
    const store = await fixture.open();
    const tar = await files();
    const blob = compress(tar, compression);

    const image = await store.import(wanted, inPieces(blob), SIGNAL);

    const config = { ...CONFIG, rootfs: { type: 'layers', diff_ids: [digestOf(tar)] } };
    expect(JSON.parse(image.config.toString())).toEqual(config);
    expect(image).toMatchObject({
      names: wanted.names,
      configDigest: digestOf(image.config),
      layerDigests: [digestOf(blob)],
      layerBytes: [12],
      sizeBytes: 12,
    });
    const { config: run, layers } = await store.ensure(image.id, 'test', SIGNAL);
    expect(run.cmd).toEqual(['/hello']);
    expect(readFileSync(join(layers[0]!.path, 'hello'), 'utf8')).toBe('hello, world');
    expect(fixture.count()).toEqual({ blobs: 3, snapshots: 1, links: 1, records: 1, unfinished: 0 });
  },
);

test('the same files again, compressed otherwise, share what is unpacked', async () => {
  const store = await fixture.open();
  const tar = await files();

  const first = await store.import(wanted, inPieces(tar), SIGNAL);
  const second = await store.import(wanted, inPieces(compress(tar, 'gzip')), SIGNAL);

  expect(second.id).not.toBe(first.id);
  expect(second.configDigest).toBe(first.configDigest);
  expect(fixture.count()).toMatchObject({ snapshots: 1, records: 2, unfinished: 0 });
});

test.each([
  ['what is no tar', async () => Buffer.from('x'.repeat(2_000)), /archive/],
  ['xz', async () => Buffer.from('fd377a585a00000000', 'hex'), /compressed with xz/],
  ['bzip2', async () => Buffer.from('BZh91AY&SY'), /compressed with bzip2/],
  ['a way out', () => makeLayer([{ name: '../../escape', content: 'x' }]), /escape/],
])('%s is refused, and nothing of it stays', async (_, content, message) => {
  const store = await fixture.open();

  await expect(store.import(wanted, inPieces(await content()), SIGNAL)).rejects.toThrow(message);

  expect(fixture.count()).toEqual(NOTHING);
});

test('a source that breaks leaves nothing', async () => {
  const store = await fixture.open();
  const tar = await files();
  const broken = async function* () {
    yield tar.subarray(0, 600);
    throw new Error('the client has gone');
  };

  await expect(store.import(wanted, broken(), SIGNAL)).rejects.toThrow('the client has gone');

  expect(fixture.count()).toEqual(NOTHING);
});
