import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const NATIVE = fileURLToPath(new URL('..', import.meta.url));

test('what reads foreign archives is clean under the sanitizers', { timeout: 180_000 }, () => {
  execFileSync('make', ['-s', '-C', NATIVE, 'build/unpack-test'], { stdio: ['ignore', 'ignore', 'inherit'] });

  const output = execFileSync(`${NATIVE}build/unpack-test`, { encoding: 'utf8' });

  expect(output).toBe('unpack_test: ok\n');
});
