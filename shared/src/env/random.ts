import { randomBytes } from 'node:crypto';

/** Chance, as everything in the cluster sees it. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
  /** `length` random bytes. Unpredictable in production, so fit for tokens and ids. */
  bytes(length: number): Buffer;
}

export const systemRandom: Random = {
  next: () => randomBytes(6).readUIntBE(0, 6) / 2 ** 48,
  bytes: (length) => randomBytes(length),
};
