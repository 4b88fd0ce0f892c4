import { createPrivateKey, sign, verify, X509Certificate } from 'node:crypto';
import { ClusterError } from '../errors/index.js';

/** Who may fetch what, until when. A manager signs it, the nodes that hold the image check it. */
export interface ImageTokenPayload {
  readonly nodeId: string;
  /** Manifest digest. */
  readonly imageId: string;
  readonly expiresAtMs: number;
}

/** Organisational unit of a manager's certificate; only such a one may sign. */
const MANAGER_UNIT = 'tessera-manager';

/**
 * A token of three base64url parts: payload (JSON), ECDSA signature (SHA-256, DER), the signer's certificate (DER).
 *
 * @param keyPem the manager node's private key
 * @param certPem the manager node's certificate, issued by the cluster CA
 */
export function signImageToken(payload: ImageTokenPayload, keyPem: string, certPem: string): string {
  const body = Buffer.from(
    JSON.stringify({
      nodeId: payload.nodeId,
      imageId: payload.imageId,
      expiresAtMs: payload.expiresAtMs,
    }),
  );
  const signature = sign('sha256', body, createPrivateKey(keyPem));
  return [body, signature, new X509Certificate(certPem).raw]
    .map((part) => part.toString('base64url'))
    .join('.');
}

/**
 * What a token says, once it is known to come from a manager of this cluster and to hold still.
 *
 * @throws ClusterError `permissionDenied`
 */
export function verifyImageToken(token: string, caCertPem: string, nowMs: number): ImageTokenPayload {
  const refuse = (why: string) => new ClusterError('permissionDenied', `image token refused: ${why}`);
  const parts = token.split('.').map((part) => Buffer.from(part, 'base64url'));
  const [body, signature, der] = parts;
  if (parts.length !== 3 || !body || !signature || !der) throw refuse('it is malformed');

  const certificate = parseCertificate(der);
  if (!certificate) throw refuse('its certificate is malformed');
  const ca = new X509Certificate(caCertPem);
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey))
    throw refuse('its signer is not of this cluster');
  if (!certificate.subject.split('\n').includes(`OU=${MANAGER_UNIT}`))
    throw refuse('its signer is not a manager');
  if (nowMs < Date.parse(certificate.validFrom) || nowMs > Date.parse(certificate.validTo))
    throw refuse('its signer has expired');
  if (!verify('sha256', body, certificate.publicKey, signature)) throw refuse('its signature is wrong');

  const payload = parsePayload(body);
  if (!payload) throw refuse('its content is malformed');
  if (nowMs >= payload.expiresAtMs) throw refuse('it has expired');
  return payload;
}

function parseCertificate(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der);
  } catch {
    return undefined;
  }
}

function parsePayload(body: Buffer): ImageTokenPayload | undefined {
  try {
    const value = JSON.parse(body.toString('utf8')) as Partial<ImageTokenPayload>;
    const { nodeId, imageId, expiresAtMs } = value;
    if (typeof nodeId !== 'string' || typeof imageId !== 'string' || typeof expiresAtMs !== 'number')
      return undefined;
    return { nodeId, imageId, expiresAtMs };
  } catch {
    return undefined;
  }
}
