// npm run differential -- [--engine DIR] [--record] [--case TEXT] [--verbose]
//   --engine DIR  compare with the dockerd in the Debian at DIR, which is made there (Debian 13) if there is none;
//                 left out: with this machine's, Debian 12's
//   --newer       the same with DIR in .cache
//   --record      keep what the newer engine answered for `npm test`
//   --case TEXT   only cases whose name contains it
//   --verbose     print every answer
import { parseArgs } from 'node:util';
import { describeDeviation } from './compare.js';
import { Bench, DOCKER_20, DOCKER_26, makeEngineRoot } from './engines.js';
import { readRecording, writeRecording } from './recording.js';
import { judge, playAll, playsOf, unmetDifferences } from './run.js';
import { TABLE } from './table.js';

const { values } = parseArgs({
  options: {
    engine: { type: 'string' },
    newer: { type: 'boolean', default: false },
    record: { type: 'boolean', default: false },
    case: { type: 'string', default: '' },
    verbose: { type: 'boolean', default: false },
  },
});

const root = values.engine ?? (values.newer || values.record ? DOCKER_26.root : undefined);
const engine = root === undefined ? DOCKER_20 : { ...DOCKER_26, root };
if (root !== undefined) await makeEngineRoot(root, console.error);
const plays = playsOf(TABLE).filter(({ key }) => key.includes(values.case));
const bench = await Bench.up(`diff${process.pid}`, engine);
let faults = 0;
try {
  const [ours, docker] = await Promise.all([playAll(bench.ours, plays), playAll(bench.docker, plays)]);
  const recorded = engine === DOCKER_20 ? { [DOCKER_26.name]: readRecording(DOCKER_26.name) } : {};
  for (const one of plays) {
    const { unexpected, intended, isUncompared } = judge(one, ours, { [engine.name]: docker, ...recorded });
    const isAwaited = one.row.awaits !== undefined;
    if (unexpected.length > 0 && !isAwaited) faults++;
    const word = isUncompared ? 'not compared' : unexpected.length === 0 ? 'same' : 'DIFFERS';
    const note = isAwaited
      ? `, awaits ${one.row.awaits}`
      : intended.length > 0
        ? `, ${intended.length} intended`
        : '';
    if (word !== 'same' || values.verbose || isAwaited) console.log(`${word}: ${one.key}${note}`);
    for (const deviation of unexpected) console.log(describeDeviation(deviation));
    if (values.verbose) console.log(JSON.stringify(docker.get(one.key) ?? ours.get(one.key), null, 1));
  }
  if (values.record) {
    const all = new Map([...readRecording(engine.name), ...docker]);
    const kept = new Map(playsOf(TABLE).flatMap(({ key }) => (all.has(key) ? [[key, all.get(key)!]] : [])));
    console.log(`recorded in ${writeRecording(engine.name, kept)}`);
  }
  const verdicts = plays.map(
    (one) => [one, judge(one, ours, { [engine.name]: docker, ...recorded })] as const,
  );
  if (values.case === '') for (const at of unmetDifferences(verdicts)) console.log(`no longer there: ${at}`);
  console.log(`${plays.length} cases, ${faults} differ`);
} finally {
  await bench.down();
}
process.exitCode = faults > 0 ? 1 : 0;
