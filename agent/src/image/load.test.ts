import { digestOf } from '@tessera/shared/digest';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  type ArchiveFormat,
  archiveEntries,
  type Compression,
  compress,
  type ImageContent,
  type LayerEntry,
  makeArchive,
  makeLayer,
} from './testing/index.js';
import { inPieces, NOTHING, StoreFixture } from './testing/store-fixture.js';

let fixture: StoreFixture;
beforeEach(() => {
  fixture = new StoreFixture();
});
afterEach(() => fixture.remove());

const signal = new AbortController().signal;
const loadBytes = async (bytes: Uint8Array) => (await fixture.open()).load(inPieces(bytes), () => {}, signal);
const app = async (): Promise<ImageContent> => ({
  names: ['app:v1', 'registry.example:5000/team/app'],
  layers: [
    await makeLayer([{ name: 'base', content: 'BASE' }]),
    await makeLayer([{ name: 'top', content: 'TOP' }]),
  ],
});

const FORMATS: readonly ArchiveFormat[] = ['docker', 'docker-oci', 'oci'];
const COMPRESSIONS: readonly Compression[] = ['plain', 'gzip', 'zstd'];
for (const format of FORMATS) {
  for (const layerCompression of COMPRESSIONS) {
    for (const compression of layerCompression === 'gzip' ? COMPRESSIONS : (['plain'] as const)) {
      test(`loaded: ${format}, ${compression}, its layers ${layerCompression}`, async () => {
        const content = { ...(await app()), names: ['app:v1'] };

        const [image] = await loadBytes(
          await makeArchive([content], { format, layerCompression, compression }),
        );

        expect(image!.names).toEqual(['docker.io/library/app:v1']);
        expect(image!.layerDigests).toEqual(
          content.layers.map((layer) => digestOf(compress(layer, layerCompression))),
        );
        expect(image!.sizeBytes).toBe('BASE'.length + 'TOP'.length);
        expect(JSON.parse(image!.manifest.toString())).toMatchObject({
          schemaVersion: 2,
          layers: content.layers.map(() => ({
            mediaType: `application/vnd.oci.image.layer.v1.tar${layerCompression === 'plain' ? '' : `+${layerCompression}`}`,
          })),
        });
        expect(fixture.count()).toMatchObject({ blobs: 4, snapshots: 2, records: 1, unfinished: 0 });
      });
    }
  }
}

test('one image has one id, whichever format it comes in', async () => {
  const content = { ...(await app()), names: ['app:v1'] };
  const ids = [];
  for (const format of FORMATS) ids.push((await loadBytes(await makeArchive([content], { format })))[0]!.id);

  expect(new Set(ids).size).toBe(1);
  expect(fixture.count()).toMatchObject({ records: 1 });
});

test('names are normalised as Docker does', async () => {
  const [image] = await loadBytes(await makeArchive([await app()]));

  expect(image!.names).toEqual(['docker.io/library/app:v1', 'registry.example:5000/team/app:latest']);
});

test('an image without a name is loaded and told by its id', async () => {
  const store = await fixture.open();
  const lines: string[] = [];
  const archive = await makeArchive([{ ...(await app()), names: [] }]);

  const [image] = await store.load(inPieces(archive), (line) => lines.push(line), signal);

  expect(lines).toEqual([`Loaded image ID: ${image!.configDigest}`]);
});

test("the same layer twice, and links between layers as in Docker's older archives", async () => {
  const layer = await makeLayer([{ name: 'file', content: 'x' }]);
  const content = { names: ['app:v1'], layers: [layer, layer] };
  const entries = archiveEntries([content]).flatMap((entry): LayerEntry[] => {
    if (entry.name !== 'manifest.json') return [entry];
    const text = entry.content!.toString();
    const name = /[0-9a-f]{64}\/layer.tar/.exec(text)![0];
    return [
      { ...entry, content: text.replace(name, 'other/layer.tar') },
      { name: 'other/layer.tar', type: 'symlink', linkname: `../${name}` },
    ];
  });

  const [image] = await loadBytes(await makeLayer(entries));

  expect(image!.layerDigests).toEqual([digestOf(layer), digestOf(layer)]);
  expect(fixture.count()).toMatchObject({ blobs: 3, snapshots: 2 });
});

test("of an index for several platforms this machine's image is taken", async () => {
  const entries = archiveEntries([{ ...(await app()), names: ['app:v1'] }], { format: 'oci' });
  const index = entries.find(({ name }) => name === 'index.json')!;
  const { manifests } = JSON.parse(index.content!.toString()) as { manifests: { digest: string }[] };
  const inner = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        {
          ...manifests[0],
          digest: digestOf(Buffer.from('s390x')),
          platform: { os: 'linux', architecture: 's390x' },
        },
        {
          ...manifests[0],
          platform: { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch },
        },
        {
          ...manifests[0],
          annotations: { 'vnd.docker.reference.type': 'attestation-manifest' },
          platform: { os: 'unknown', architecture: 'unknown' },
        },
      ],
    }),
  );
  const outer = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: 'application/vnd.oci.image.index.v1+json',
        digest: digestOf(inner),
        size: inner.length,
        annotations: { 'org.opencontainers.image.ref.name': 'example.org/app:v2' },
      },
    ],
  };
  const changed = [
    ...entries.filter((entry) => entry !== index),
    { name: `blobs/sha256/${digestOf(inner).slice(7)}`, content: inner },
    { name: 'index.json', content: JSON.stringify(outer) },
  ];

  const images = await loadBytes(await makeLayer(changed));

  expect(images.map(({ id, names }) => [id, names])).toEqual([
    [manifests[0]!.digest, ['example.org/app:v2']],
  ]);
});

// ---- refused

type Change = (entries: LayerEntry[]) => LayerEntry[];
const without =
  (pattern: RegExp): Change =>
  (entries) =>
    entries.filter(({ name }) => !pattern.test(name));
const rewrite =
  (pattern: RegExp, change: (text: string) => string): Change =>
  (entries) =>
    entries.map((entry) =>
      pattern.test(entry.name)
        ? { ...entry, content: change(Buffer.from(entry.content!).toString('latin1')) }
        : entry,
    );
const HEX = '0'.repeat(64);

const REFUSED: readonly (readonly [string, ArchiveFormat, Change, RegExp])[] = [
  ['no metadata', 'docker', without(/manifest.json/), /neither manifest.json nor index.json/],
  ['a layer is missing', 'docker', without(/layer.tar/), /'[0-9a-f]+\/layer.tar' is missing/],
  ['the configuration is missing', 'docker', without(/^[0-9a-f]+\.json/), /'[0-9a-f]+\.json' is missing/],
  ['manifest.json is not JSON', 'docker', rewrite(/manifest.json/, () => '{'), /manifest.json is not JSON/],
  ['manifest.json is empty', 'docker', rewrite(/manifest.json/, () => '[]'), /names no image/],
  [
    'manifest.json of another shape',
    'docker',
    rewrite(/manifest.json/, () => '[{}]'),
    /manifest.json: 0.Config/,
  ],
  [
    'a name that is none',
    'docker',
    rewrite(/manifest.json/, (text) => text.replace('app:v1', 'App Name')),
    /invalid reference format/,
  ],
  [
    'another configuration than its name says',
    'docker',
    rewrite(/^[0-9a-f]+\.json/, (text) => `${text} `),
    /has the digest sha256:[0-9a-f]+ instead of sha256:[0-9a-f]+: the archive is damaged/,
  ],
  [
    'a layer with another content (docker)',
    'docker',
    rewrite(/layer.tar/, (text) => text.replace('BASE', 'EVIL')),
    /layer sha256:[0-9a-f]+: its content has the digest sha256:[0-9a-f]+ instead/,
  ],
  [
    'a layer with another content (oci)',
    'oci',
    rewrite(/^blobs/, (text) => text.replace('BASE', 'EVIL')),
    /has the digest sha256:[0-9a-f]+ instead of sha256:[0-9a-f]+: the archive is damaged/,
  ],
  [
    'another manifest than its name says',
    'oci',
    rewrite(/^blobs/, (text) => text.replace('"schemaVersion":2', '"schemaVersion": 2')),
    /another digest or size than its name says/,
  ],
  [
    'layers outside the archive',
    'docker',
    rewrite(/manifest.json/, (text) =>
      text.replace(/[0-9a-f]{64}\/layer.tar/, '../../../../../../etc/passwd'),
    ),
    /'.*passwd' (leads outside the archive|is missing)/,
  ],
  [
    'a configuration through a link to outside',
    'docker',
    (entries) => [
      ...rewrite(/manifest.json/, (text) => text.replace(/[0-9a-f]{64}\.json/, 'link'))(entries),
      { name: 'link', type: 'symlink', linkname: '/etc/passwd' },
    ],
    /'link' leads outside the archive/,
  ],
  [
    'an index that is a manifest, too',
    'oci',
    rewrite(/index.json/, (text) => text.replace('{', '{"layers":[],')),
    /an index cannot be a manifest as well/,
  ],
  [
    'a digest that is none',
    'oci',
    rewrite(/index.json/, (text) => text.replace(/sha256:[0-9a-f]+/, 'sha256:../../x')),
    /must be sha256: and 64 digits/,
  ],
  [
    'a manifest that is missing',
    'oci',
    rewrite(/index.json/, (text) => text.replace(/sha256:[0-9a-f]+/, `sha256:${HEX}`)),
    /is missing: the archive is incomplete/,
  ],
];

for (const [what, format, change, message] of REFUSED) {
  test(`refused, and nothing kept: ${what}`, async () => {
    const entries = change(archiveEntries([await app()], { format }));

    const loading = loadBytes(await makeLayer(entries));

    await expect(loading).rejects.toMatchObject({
      kind: 'invalidArgument',
      message: expect.stringMatching(message) as string,
    });
    expect(fixture.count()).toEqual(NOTHING);
  });
}

test('refused: a truncated archive', async () => {
  const archive = await makeArchive([await app()]);

  await expect(loadBytes(archive.subarray(0, 3000))).rejects.toThrow(/truncated/i);
  await expect(loadBytes(Buffer.alloc(0))).rejects.toThrow(/neither manifest.json nor index.json/);
  expect(fixture.count()).toEqual(NOTHING);
});

test('refused: diff ids that are not those of the layers', async () => {
  const content = await app();
  const diffIds = [digestOf(Buffer.from('x')), digestOf(content.layers[1]!)];

  await expect(loadBytes(await makeArchive([{ ...content, diffIds }]))).rejects.toThrow(
    /its content has the digest/,
  );
  await expect(loadBytes(await makeArchive([{ ...content, diffIds: [] }]))).rejects.toThrow(
    /names 0 layers, the manifest 2/,
  );
  expect(fixture.count()).toEqual(NOTHING);
});

test('refused: a layer with the diff id of one that is here, but another content', async () => {
  const content = await app();
  const store = await fixture.open();
  await store.load(inPieces(await makeArchive([content])), () => {}, signal);
  const evil = await makeLayer([{ name: 'base', content: 'evil' }]);
  const diffIds = content.layers.map(digestOf);
  const archive = await makeArchive([{ ...content, layers: [evil, content.layers[1]!], diffIds }], {
    layerCompression: 'gzip',
  });

  await expect(store.load(inPieces(archive), () => {}, signal)).rejects.toThrow(/its content has the digest/);

  expect(fixture.count()).toMatchObject({ blobs: 4, snapshots: 2, records: 1 });
});

test('refused: an image for another system', async () => {
  const entries = archiveEntries([await app()]);
  const config = entries.find(({ name }) => /^[0-9a-f]+\.json/.test(name))!;
  const manifest = entries.find(({ name }) => name === 'manifest.json')!;
  const changed = [
    ...entries.filter((entry) => entry !== config && entry !== manifest),
    { name: 'config', content: config.content!.toString().replace('"os":"linux"', '"os":"windows"') },
    { name: 'manifest.json', content: manifest.content!.toString().replace(config.name, 'config') },
  ];

  await expect(loadBytes(await makeLayer(changed))).rejects.toThrow(/is for windows, not for linux/);
});

test('refused: more layers than an image may have', async () => {
  const layers = Array.from({ length: 128 }, () => Buffer.alloc(1024));

  await expect(loadBytes(await makeArchive([{ names: ['app'], layers }]))).rejects.toThrow(
    /has more than 127 layers/,
  );
});

test('of an archive with a bad image none is kept', async () => {
  const good = await app();
  const layers = [await makeLayer([{ name: '../escape', content: 'x' }])];

  const loading = loadBytes(await makeArchive([good, { names: ['bad'], layers }]));

  await expect(loading).rejects.toThrow(/the name leads outside by '..'/);
  expect(fixture.count()).toEqual(NOTHING);
});

test('an upload that breaks off leaves nothing', async () => {
  const archive = await makeArchive([await app()]);
  async function* broken() {
    yield archive.subarray(0, 2000);
    throw new Error('the client went away');
  }
  const store = await fixture.open();

  await expect(store.load(broken(), () => {}, signal)).rejects.toThrow('the client went away');
  expect(fixture.count()).toEqual(NOTHING);
});
