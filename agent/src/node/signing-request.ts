import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

x509.cryptoProvider.set(webcrypto as never);

/** A node's new key (PKCS#8) and a request for its certificate (PKCS#10), both PEM. */
export interface SigningRequest {
  readonly keyPem: string;
  readonly csrPem: string;
}

/** @param existingKeyPem a key made before, whose request was not answered */
export async function newSigningRequest(existingKeyPem?: string): Promise<SigningRequest> {
  const keys = existingKeyPem ? await importKeys(existingKeyPem) : await newKeys();
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    // The CA decides on the subject; the key is what the request is about.
    name: 'CN=tessera-node',
    keys: keys as never,
    signingAlgorithm: ALGORITHM,
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    keyPem: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
    csrPem: `${request.toString('pem')}\n`,
  };
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function importKeys(keyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const pkcs8 = x509.PemConverter.decodeFirst(keyPem);
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, true, ['sign']);
  const { d: _, key_ops: __, ...publicPart } = await webcrypto.subtle.exportKey('jwk', privateKey);
  const publicKey = await webcrypto.subtle.importKey('jwk', publicPart, ALGORITHM, true, ['verify']);
  return { privateKey, publicKey };
}
