// npm run fuzz [-- [FILTER…] [--factor 100] [--seed N]]: the fuzz tests, at length.
//   FILTER    only the files whose names have it: archive, requests, registry, spec …
//   --factor  how many times as many cases as among the other tests
//   --seed    the cases of an earlier run; a failure prints its seed
import { spawn } from 'node:child_process';
import { parseArgs } from 'node:util';
import { ROOT } from '../lab/paths.js';

const { values, positionals } = parseArgs({
  options: { factor: { type: 'string', default: '100' }, seed: { type: 'string' } },
  allowPositionals: true,
});
if (!/^[1-9]\d*$/.test(values.factor)) {
  console.error(`fuzz: --factor ${values.factor}: give a whole number from 1 on`);
  process.exit(2);
}
const child = spawn(
  process.execPath,
  [`${ROOT}node_modules/vitest/vitest.mjs`, 'run', '--project', 'fuzz', ...positionals],
  {
    cwd: ROOT,
    stdio: 'inherit',
    env: {
      ...process.env,
      FUZZ_FACTOR: values.factor,
      ...(values.seed === undefined ? {} : { FUZZ_SEED: values.seed }),
    },
  },
);
child.on('exit', (code) => {
  process.exitCode = code ?? 1;
});
