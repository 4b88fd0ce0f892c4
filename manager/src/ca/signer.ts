import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import * as x509 from '@peculiar/x509';
import type { Clock, Random } from '@tessera/shared/env';
import { invalid } from '@tessera/shared/errors';

x509.cryptoProvider.set(webcrypto as never);

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;

const CA_DAYS = 20 * 365;
/** Hosts whose clocks differ by less than this still accept a new certificate. */
const BACKDATE_MS = 3_600_000;

/** A certificate authority's own key and certificate, PEM. */
export interface AuthorityKeys {
  readonly caCertPem: string;
  readonly caKeyPem: string;
}

export interface SignOptions {
  readonly commonName: string;
  /** One of `UNITS`. */
  readonly unit: string;
  readonly validDays: number;
  readonly usages: readonly ('client' | 'server')[];
  /** Names and addresses the holder serves under. */
  readonly alternativeNames?: readonly string[];
}

/** Makes the key and the self-signed certificate of a new authority. */
export async function createAuthority(
  clusterId: string,
  clock: Clock,
  random: Random,
): Promise<AuthorityKeys> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(random),
    name: nameOf({ CN: 'tessera-ca', O: clusterId }),
    keys: keys as never,
    signingAlgorithm: ALGORITHM,
    ...validity(clock, CA_DAYS),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
    ],
  });
  return { caCertPem: certificate.toString('pem'), caKeyPem: await exportKey(keys.privateKey) };
}

/** Signs certificates with an authority's key. */
export class Signer {
  private constructor(
    private readonly authority: x509.X509Certificate,
    private readonly key: webcrypto.CryptoKey,
    private readonly clusterId: string,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  static async open(keys: AuthorityKeys, clusterId: string, clock: Clock, random: Random): Promise<Signer> {
    const der = x509.PemConverter.decodeFirst(keys.caKeyPem);
    const key = await webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign']);
    return new Signer(new x509.X509Certificate(keys.caCertPem), key, clusterId, clock, random);
  }

  /** A certificate, PEM, for the public key of a verified request. */
  async sign(request: SigningRequest, options: SignOptions): Promise<string> {
    return this.#sign(await request.exportKey(), options);
  }

  /** A new key and its certificate, both PEM. */
  async issue(options: SignOptions): Promise<{ readonly keyPem: string; readonly certPem: string }> {
    const keys = await newKeys();
    const certPem = await this.#sign(keys.publicKey, options);
    return { keyPem: await exportKey(keys.privateKey), certPem };
  }

  async #sign(publicKey: webcrypto.CryptoKey, options: SignOptions): Promise<string> {
    const { commonName, unit, usages, alternativeNames = [] } = options;
    const extensions: x509.Extension[] = [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(
        usages.map((usage) =>
          usage === 'client' ? x509.ExtendedKeyUsage.clientAuth : x509.ExtendedKeyUsage.serverAuth,
        ),
      ),
      await x509.AuthorityKeyIdentifierExtension.create(this.authority),
    ];
    if (alternativeNames.length > 0)
      extensions.push(
        new x509.SubjectAlternativeNameExtension(
          alternativeNames.map((value) => ({
            type: isIP(value) ? ('ip' as const) : ('dns' as const),
            value,
          })),
        ),
      );
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: newSerial(this.random),
      subject: nameOf({ CN: commonName, OU: unit, O: this.clusterId }),
      issuer: this.authority.subjectName,
      publicKey: publicKey as never,
      signingKey: this.key as never,
      signingAlgorithm: ALGORITHM,
      ...validity(this.clock, options.validDays),
      extensions,
    });
    return certificate.toString('pem');
  }
}

/** A PKCS#10 request whose signature has been checked: its sender holds the key. */
export class SigningRequest {
  private constructor(private readonly request: x509.Pkcs10CertificateRequest) {}

  /**
   * @param csrPem PKCS#10, PEM, with an EC P-256 key; its subject is ignored
   * @throws ClusterError `invalidArgument`
   */
  static async parse(csrPem: string): Promise<SigningRequest> {
    try {
      const request = new x509.Pkcs10CertificateRequest(csrPem);
      const { name, namedCurve } = request.publicKey.algorithm as { name?: string; namedCurve?: string };
      if (name === 'ECDSA' && namedCurve === 'P-256' && (await request.verify()))
        return new SigningRequest(request);
    } catch (error) {
      throw invalid(`csr_pem is no PKCS#10 request in PEM: ${(error as Error).message}`);
    }
    throw invalid('csr_pem must be signed with the EC P-256 key that it asks a certificate for');
  }

  /** SHA-256 of the public key's SubjectPublicKeyInfo. */
  async keyDigest(): Promise<Buffer> {
    return Buffer.from(await webcrypto.subtle.digest('SHA-256', this.request.publicKey.rawData));
  }

  async exportKey(): Promise<webcrypto.CryptoKey> {
    return (await this.request.publicKey.export()) as webcrypto.CryptoKey;
  }
}

/** By field rather than as text: a comma in a value must not become another field. */
const nameOf = (fields: Record<string, string>): string =>
  new x509.Name(Object.entries(fields).map(([field, value]) => ({ [field]: [value] }))).toString();

function validity(clock: Clock, days: number): { notBefore: Date; notAfter: Date } {
  const nowMs = clock.now();
  return { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + days * DAY_MS) };
}

/** Positive and at most 20 octets (RFC 5280, 4.1.2.2). */
function newSerial(random: Random): string {
  const bytes = random.bytes(16);
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString('hex');
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
}
