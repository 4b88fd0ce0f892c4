import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const NATIVE = fileURLToPath(new URL('..', import.meta.url));

// Built with the address and undefined-behaviour sanitizers.
test.each(['unpack', 'archive'])(
  'what ts-%s does with foreign archives is clean under the sanitizers',
  {
    timeout: 180_000,
  },
  (name) => {
    const program = `build/${name}-test`;
    execFileSync('make', ['-s', '-C', NATIVE, program], { stdio: ['ignore', 'ignore', 'inherit'] });

    const output = execFileSync(`${NATIVE}${program}`, { encoding: 'utf8' });

    expect(output).toBe(`${name}_test: ok\n`);
  },
);
