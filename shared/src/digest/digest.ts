import { createHash, type Hash } from 'node:crypto';

const DIGEST = /^sha256:[0-9a-f]{64}$/;

/** Whether `text` is a digest as images here carry them: `sha256:` and 64 lower-case digits. */
export const isDigest = (text: string): boolean => DIGEST.test(text);

export const digestOf = (bytes: Uint8Array): string => digestOfHash(createHash('sha256').update(bytes));

export const digestOfHash = (hash: Hash): string => `sha256:${hash.digest('hex')}`;

/** The digits alone, as files are named. */
export const hexOf = (digest: string): string => digest.slice('sha256:'.length);

/**
 * One chain id for each layer: the digest of itself and all below it.
 *
 * Source: OCI image specification, config.md, "Layer ChainID".
 */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(Buffer.from(`${below} ${diffId}`)));
  }
  return chain;
}
