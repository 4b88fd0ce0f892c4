// The house rules that no linter knows: which package may import which, and none in a circle, where time and chance come
// from, how long a file may grow. Each message gives the reason and the way out.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { importCircles } from './circles.mjs';

const FLOORS = {
  shared: [],
  native: ['shared'],
  agent: ['shared', 'native'],
  manager: ['shared'],
  cli: ['shared'],
  deploy: ['shared'],
  e2e: ['shared', 'native', 'agent', 'manager', 'cli'],
};
const LINES_MAX = 400;

/** Rules on one line of code. `where` says which files it concerns. */
const LINE_RULES = [
  {
    where: (file) =>
      !isTest(file) &&
      !file.startsWith('shared/src/env/') &&
      !file.includes('/testing/') &&
      !file.startsWith('e2e/') &&
      !file.includes('/bench/'),
    pattern:
      /\bDate\.now\(|\bnew Date\(\)|(?<![.\w])setTimeout\(|(?<![.\w])setInterval\(|\bMath\.random\(|\brandomUUID\(/,
    say: 'time and chance are arguments, so that tests and the simulator own them: take a Clock or Random of @tessera/shared/env',
  },
  {
    where: (file) =>
      file.startsWith('agent/src/') &&
      !isTest(file) &&
      !file.includes('/testing/') &&
      !file.includes('/bench/'),
    pattern: /from 'node:child_process'/,
    say: 'the agent never forks: forking copies page tables and stops the event loop; spawn through native',
  },
  {
    where: (file) =>
      !/\/config\.ts$|\/main\.ts$/.test(file) &&
      !isTest(file) &&
      !file.startsWith('e2e/') &&
      !file.startsWith('cli/') &&
      !file.includes('/bench/') &&
      !file.includes('/testing/'),
    pattern: /\bprocess\.env\b/,
    say: 'only config.ts reads the environment: take the value as an argument',
  },
];

const isTest = (file) => /\.test\.ts$/.test(file);
const problems = [];
const texts = new Map();
const files = execFileSync(
  'git',
  ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts', '*.c', '*.h'],
  { encoding: 'utf8' },
)
  .split('\n')
  .filter((file) => file && !file.includes('/gen/'));

for (const file of files) {
  let text;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    continue; // removed, and not committed yet
  }
  const lines = text.split('\n');
  if (lines.length > LINES_MAX && !isTest(file)) {
    problems.push(
      `${file}: ${lines.length} lines: look for the second noun in it and give that a file of its own`,
    );
  }
  if (!file.endsWith('.ts')) continue;
  if (!isTest(file)) texts.set(file, text);
  const floor = file.split('/')[0];
  lines.forEach((line, index) => {
    const place = `${file}:${index + 1}`;
    const imported = /from '@tessera\/([a-z0-9]+)/.exec(line)?.[1];
    if (imported && imported !== floor && !FLOORS[floor]?.includes(imported)) {
      problems.push(
        `${place}: ${floor} may not import ${imported}: floors import downwards only (docs/overview.md)`,
      );
    }
    for (const rule of LINE_RULES) {
      if (rule.where(file) && rule.pattern.test(line) && !/^\s*(\/\/|\*|\/\*)/.test(line))
        problems.push(`${place}: ${rule.say}`);
    }
  });
}

for (const circle of importCircles(texts))
  problems.push(
    `${circle.join(' -> ')}: no import goes in a circle: say what is needed as an interface at its user's side, or give it a file of its own`,
  );
for (const problem of problems) console.error(problem);
if (problems.length > 0) {
  console.error(`${problems.length} house rule${problems.length === 1 ? '' : 's'} broken`);
  process.exit(1);
}
