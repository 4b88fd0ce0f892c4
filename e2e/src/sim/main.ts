import { runSeed, SIZES, type Size } from './run.js';

// npm run sim -- [--seed N] [--seeds COUNT] [--size small|large] [--log] [--no-containers]

const flags = parseFlags(process.argv.slice(2));
const first = Number(flags.get('seed') ?? 1);
const count = Number(flags.get('seeds') ?? 1);
const size = flags.get('size') ?? 'large';
if (!Number.isSafeInteger(first) || !Number.isSafeInteger(count) || !isSize(size)) {
  console.error(
    'usage: npm run sim -- [--seed N] [--seeds COUNT] [--size small|large] [--log] [--no-containers]',
  );
  process.exit(2);
}

let failed = 0;
for (let seed = first; seed < first + count; seed++) {
  const startedMs = performance.now();
  const report = await runSeed(
    seed,
    size,
    flags.has('log') ? (line) => console.log(line) : undefined,
    !flags.has('no-containers'),
  );
  const tookMs = Math.round(performance.now() - startedMs);
  const { steps, revisions, containersStarted, leadersElected, settledAfterMs, broken } = report;
  console.log(
    `seed ${seed} ${size}: ${steps} steps, ${revisions} revisions, ${containersStarted} containers, ${leadersElected} leaders, settled after ${settledAfterMs / 1_000} s; took ${tookMs} ms`,
  );
  for (const what of broken) console.error(`  ${what}`);
  if (broken.length > 0) {
    failed++;
    console.error(`replay: npm run sim -- --seed ${seed} --size ${size}`);
  }
}
process.exit(failed > 0 ? 1 : 0);

function parseFlags(args: readonly string[]): Map<string, string> {
  const found = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const [name = '', value] = args[index]!.replace(/^--/, '').split('=');
    const next = args[index + 1];
    if (value !== undefined) found.set(name, value);
    else if (next !== undefined && !next.startsWith('--')) found.set(name, args[++index]!);
    else found.set(name, '');
  }
  return found;
}

function isSize(text: string): text is Size {
  return text in SIZES;
}
