import { credentials } from '@grpc/grpc-js';
import { systemClock } from '@tessera/shared/env';
import { fromServiceError } from '@tessera/shared/errors';
import { signImageToken } from '@tessera/shared/image-token';
import { Image } from '@tessera/shared/model';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { type BlobChunk, PeerClient } from '@tessera/shared/wire';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { managerChannelOptions, type NodeCredentials } from '../session/index.js';
import { credentialsOf } from '../session/testing/index.js';
import { ImageLocator } from './image-locator.js';
import { PeerListener } from './peer-listener.js';

const DIGEST = 'sha256:blob';
const IMAGE = Image.fromPartial({
  id: 'sha256:image',
  configDigest: 'sha256:config',
  layerDigests: [DIGEST],
});
const CONTENT = Buffer.from('layer content');

let authority: TestAuthority;
let manager: NodeCredentials;
let asker: NodeCredentials;
let listener: PeerListener;

beforeAll(async () => {
  authority = await TestAuthority.create();
  manager = await credentialsOf(authority, 'manager', 'node-m');
  asker = await credentialsOf(authority, 'worker', 'node-a');
  listener = await PeerListener.open({
    listenAddr: '127.0.0.1:0',
    clusterId: 'cluster-1',
    credentials: await credentialsOf(authority, 'worker', 'node-h'),
    images: {
      get: (imageId) => (imageId === IMAGE.id ? IMAGE : undefined),
      readBlob: async (_, offset) => ({
        sizeBytes: CONTENT.length,
        content: (async function* () {
          yield CONTENT.subarray(offset);
        })(),
      }),
    },
    clock: systemClock,
  });
});
afterAll(() => listener.close());

const token = (
  part: { nodeId?: string; imageId?: string; expiresAtMs?: number } = {},
  signer = manager,
): string =>
  signImageToken(
    { nodeId: 'node-a', imageId: IMAGE.id, expiresAtMs: systemClock.now() + 60_000, ...part },
    signer.keyPem,
    signer.certPem,
  );

/** Opened as an agent does, which expects the holder to be this node. */
const clientOf = (own: NodeCredentials, holder = 'node-h'): PeerClient =>
  new ImageLocator({ credentials: () => own, managerAddrs: () => [], clock: systemClock }).openPeer({
    nodeId: holder,
    peerAddr: `127.0.0.1:${listener.port}`,
  });

async function fetchBlob(client: PeerClient, withToken: string): Promise<string> {
  try {
    const parts: Buffer[] = [];
    const call = client.getBlob({ imageId: IMAGE.id, digest: DIGEST, token: withToken, offset: 0 });
    for await (const { data } of call as AsyncIterable<BlobChunk>) parts.push(data);
    return Buffer.concat(parts).toString();
  } catch (error) {
    throw fromServiceError(error);
  } finally {
    client.close();
  }
}

test('a node whose token names it and the image gets the layer', async () => {
  expect(await fetchBlob(clientOf(asker), token())).toBe('layer content');
});

describe('nobody gets a layer', () => {
  test('with the token of another node, of another image, or of yesterday', async () => {
    const nowMs = systemClock.now();
    for (const odd of [
      token({ nodeId: 'node-b' }),
      token({ imageId: 'sha256:other' }),
      token({ expiresAtMs: nowMs - 1 }),
    ])
      await expect(fetchBlob(clientOf(asker), odd)).rejects.toMatchObject({ kind: 'permissionDenied' });
  });

  test('with a token that a worker has signed', async () => {
    await expect(fetchBlob(clientOf(asker), token({}, asker))).rejects.toMatchObject({
      kind: 'permissionDenied',
    });
  });

  test('without a certificate, or with one of another cluster', async () => {
    const stranger = await credentialsOf(await TestAuthority.create(), 'worker', 'node-a');
    const noCertificate = new PeerClient(
      `127.0.0.1:${listener.port}`,
      credentials.createSsl(Buffer.from(authority.caCertPem)),
      { ...managerChannelOptions, 'grpc.ssl_target_name_override': 'node-h' },
    );

    await expect(fetchBlob(noCertificate, token())).rejects.toMatchObject({ kind: 'unavailable' });
    await expect(
      fetchBlob(clientOf({ ...stranger, caCertPem: authority.caCertPem }), token()),
    ).rejects.toMatchObject({ kind: 'unavailable' });
  });

  test('with the certificate of a user', async () => {
    const user = await authority.issue({ nodeId: 'node-a', role: 'client' as never });

    await expect(
      fetchBlob(clientOf({ ...user, caCertPem: authority.caCertPem }), token()),
    ).rejects.toMatchObject({ kind: 'unauthenticated' });
  });

  test('from a node that is not the one the manager named', async () => {
    await expect(fetchBlob(clientOf(asker, 'node-z'), token())).rejects.toMatchObject({
      kind: 'unavailable',
    });
  });
});

test('an address that is taken is named with its flag', async () => {
  await expect(
    PeerListener.open({
      listenAddr: `127.0.0.1:${listener.port}`,
      clusterId: 'cluster-1',
      credentials: asker,
      images: { get: () => undefined, readBlob: async () => ({}) as never },
      clock: systemClock,
    }),
  ).rejects.toThrow('(--peer-addr)');
});
