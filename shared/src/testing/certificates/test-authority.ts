import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';

x509.cryptoProvider.set(webcrypto as never);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** Validity of what a test issues, unless it says otherwise: around now, by years. */
const YEARS_MS = 10 * 365 * 86_400_000;

export interface TestIdentity {
  readonly keyPem: string;
  readonly certPem: string;
}

export interface TestIdentityOptions {
  /** CN. */
  readonly nodeId: string;
  readonly role: 'worker' | 'manager';
  /** O. */
  readonly clusterId?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A certificate authority for tests, which issues certificates as the cluster's own does. */
export class TestAuthority {
  private constructor(
    private readonly keys: webcrypto.CryptoKeyPair,
    readonly caCertPem: string,
    readonly caKeyPem: string,
  ) {}

  static async create(): Promise<TestAuthority> {
    const keys = await newKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: 'CN=tessera-ca',
      keys: keys as never,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - YEARS_MS),
      notAfter: new Date(Date.now() + YEARS_MS),
      extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
    });
    return new TestAuthority(keys, certificate.toString('pem'), await exportKey(keys.privateKey));
  }

  /** A node's key and certificate, good for serving on loopback and for calling. */
  async issue(options: TestIdentityOptions): Promise<TestIdentity> {
    const keys = await newKeys();
    const certPem = await this.#sign(keys.publicKey, options);
    return { keyPem: await exportKey(keys.privateKey), certPem };
  }

  /** A certificate for the key of a PKCS#10 request. Its subject is ignored, as the CA does. */
  async issueFor(csrPem: string, options: TestIdentityOptions): Promise<string> {
    const request = new x509.Pkcs10CertificateRequest(csrPem);
    return this.#sign(await request.publicKey.export(), options);
  }

  async #sign(publicKey: unknown, options: TestIdentityOptions): Promise<string> {
    const { nodeId, role, clusterId = 'cluster-1' } = options;
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${nodeId}, OU=tessera-${role}, O=${clusterId}`,
      issuer: 'CN=tessera-ca',
      publicKey: publicKey as never,
      signingKey: this.keys.privateKey as never,
      signingAlgorithm: ALGORITHM,
      notBefore: options.notBefore ?? new Date(Date.now() - YEARS_MS),
      notAfter: options.notAfter ?? new Date(Date.now() + YEARS_MS),
      extensions: [
        new x509.SubjectAlternativeNameExtension([
          { type: 'dns', value: `tessera-${role}` },
          { type: 'dns', value: nodeId },
          { type: 'ip', value: '127.0.0.1' },
        ]),
      ],
    });
    return certificate.toString('pem');
  }
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}
