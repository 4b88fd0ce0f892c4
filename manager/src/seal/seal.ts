import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Transaction, View } from '../store/view.js';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts a secret that lies in another object of the store: nonce, ciphertext, tag. The cluster's key for it is made
 * in the same transaction when there is none yet.
 *
 * @param owner the object it lies in, `service/<id>`: in another one it cannot be opened
 */
export function seal(tx: Transaction, random: Random, owner: string, secret: string): Buffer {
  const { cluster } = tx;
  if (!cluster) throw new ClusterError('failedPrecondition', 'there is no cluster to keep a secret in');
  const key = cluster.sealKey.length === KEY_BYTES ? Buffer.from(cluster.sealKey) : random.bytes(KEY_BYTES);
  if (cluster.sealKey.length !== KEY_BYTES) tx.put('cluster', { ...cluster, sealKey: key });
  const nonce = random.bytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce).setAAD(Buffer.from(owner));
  return Buffer.concat([nonce, cipher.update(secret, 'utf8'), cipher.final(), cipher.getAuthTag()]);
}

/** The secret again; undefined when it was sealed for another owner, or with a key that is no more. */
export function unseal(view: View, owner: string, sealed: Uint8Array): string | undefined {
  const key = Buffer.from(view.cluster?.sealKey ?? []);
  if (key.length !== KEY_BYTES || sealed.length < NONCE_BYTES + TAG_BYTES) return undefined;
  const bytes = Buffer.from(sealed);
  try {
    const decipher = createDecipheriv(ALGORITHM, key, bytes.subarray(0, NONCE_BYTES))
      .setAAD(Buffer.from(owner))
      .setAuthTag(bytes.subarray(-TAG_BYTES));
    const plain = decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES));
    return Buffer.concat([plain, decipher.final()]).toString('utf8');
  } catch {
    return undefined;
  }
}
