import { timingSafeEqual, X509Certificate } from 'node:crypto';
import type { Random } from '../env/index.js';
import { invalid } from '../errors/index.js';

const PREFIX = 'TSWT-1';
const DIGEST_LENGTH = 50;
const SECRET_LENGTH = 25;
const PATTERN = new RegExp(`^${PREFIX}-([0-9a-z]{${DIGEST_LENGTH}})-([0-9a-z]{${SECRET_LENGTH}})$`);

/** What a join token says: which CA to trust, and the secret that lets a node in. */
export interface JoinToken {
  /** SHA-256 of the CA certificate's DER, base 36, as `caDigest` gives it. */
  readonly caDigest: string;
  readonly secret: string;
}

/**
 * The digest a token carries for a CA certificate, so that a joining node knows whom it talks to.
 *
 * Source: the form of Swarm's tokens (SWMTKN-1-digest-secret), under a prefix of our own.
 */
export function caDigest(caCertPem: string): string {
  const fingerprint = new X509Certificate(caCertPem).fingerprint256.replaceAll(':', '');
  return BigInt(`0x${fingerprint}`).toString(36).padStart(DIGEST_LENGTH, '0');
}

/** A new secret of 129 bits. */
export function newJoinSecret(random: Random): string {
  const number = BigInt(`0x${random.bytes(17).toString('hex')}`);
  return number.toString(36).padStart(SECRET_LENGTH, '0').slice(-SECRET_LENGTH);
}

export const formatJoinToken = (caCertPem: string, secret: string): string =>
  `${PREFIX}-${caDigest(caCertPem)}-${secret}`;

/** @throws ClusterError `invalidArgument` that never repeats the token, which is a secret */
export function parseJoinToken(token: string): JoinToken {
  const match = PATTERN.exec(token.trim());
  if (!match)
    throw invalid(
      `invalid join token: it has the form ${PREFIX}-<digest>-<secret>; ` +
        'print it on a manager with "tsctl cluster token worker"',
    );
  return { caDigest: match[1]!, secret: match[2]! };
}

/** Whether two tokens are equal, in a time that does not tell where they differ. */
export function sameJoinToken(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
