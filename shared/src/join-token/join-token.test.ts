import { beforeAll, describe, expect, test } from 'vitest';
import { TestAuthority } from '../testing/certificates/index.js';
import { SeededRandom } from '../testing/index.js';
import { caDigest, formatJoinToken, newJoinSecret, parseJoinToken, sameJoinToken } from './index.js';

let caPem: string;

beforeAll(async () => {
  caPem = (await TestAuthority.create()).caCertPem;
});

describe('join tokens', () => {
  test('a token comes apart into the digest of its CA and its secret', () => {
    const secret = newJoinSecret(new SeededRandom(1));

    const parsed = parseJoinToken(formatJoinToken(caPem, secret));

    expect(parsed).toEqual({ caDigest: caDigest(caPem), secret });
  });

  test('secrets and digests keep their length, whatever their leading zeros', () => {
    const zeros = { next: () => 0, bytes: (length: number) => Buffer.alloc(length) };

    expect(newJoinSecret(zeros)).toBe('0'.repeat(25));
    expect(caDigest(caPem)).toHaveLength(50);
  });

  test('what is no token is refused without repeating it', () => {
    for (const text of [
      '',
      'SWMTKN-1-abc-def',
      'TSWT-1-short-secretword',
      `TSWT-2-${'a'.repeat(50)}-${'b'.repeat(25)}`,
    ]) {
      const error = (() => {
        try {
          parseJoinToken(text);
        } catch (thrown) {
          return thrown as Error;
        }
        return undefined;
      })();
      expect(error?.message).toContain('invalid join token');
      if (text) expect(error?.message).not.toContain(text);
    }
  });

  test('tokens compare by content', () => {
    expect(sameJoinToken('a', 'a')).toBe(true);
    expect(sameJoinToken('a', 'b')).toBe(false);
    expect(sameJoinToken('a', 'ab')).toBe(false);
  });
});
