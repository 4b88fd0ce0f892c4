import { afterAll, beforeAll, expect, test } from 'vitest';
import { describeDeviation } from '../differential/compare.js';
import { Bench, DOCKER_20, DOCKER_26 } from '../differential/engines.js';
import { isRecorded, readRecording } from '../differential/recording.js';
import {
  judge,
  numberOf,
  playAll,
  playsOf,
  type Transcripts,
  unmetDifferences,
} from '../differential/run.js';
import { TABLE } from '../differential/table.js';

// One table of calls, played on a real dockerd and on three hosts as one engine: every answer is compared with that
// dockerd's, and with what a newer one answered when it was recorded (`npm run differential -- --record`).

const PLAYS = playsOf(TABLE);
// Beside other work on the same processors it takes many times as long as alone.
const PLAYING_MS = 900_000;

let bench: Bench;
let ours: Transcripts;
let docker: Readonly<Record<string, Transcripts>>;

beforeAll(async () => {
  bench = await Bench.up(`df${process.pid}`, DOCKER_20);
  const [own, theirs] = await Promise.all([playAll(bench.ours, PLAYS), playAll(bench.docker, PLAYS)]);
  ours = own;
  docker = { [DOCKER_20.name]: theirs, [DOCKER_26.name]: readRecording(DOCKER_26.name) };
}, PLAYING_MS);
afterAll(() => bench?.down());

test.each(PLAYS.filter(({ row }) => !row.awaits))('$key', (one) => {
  const { unexpected } = judge(one, ours, docker);

  expect(unexpected.map(describeDeviation).join('\n')).toBe('');
});

test('every difference that is written down as meant is there', () => {
  const verdicts = PLAYS.map((one) => [one, judge(one, ours, docker)] as const);

  expect(unmetDifferences(verdicts)).toEqual([]);
});

test('the newer engine was asked all that it can speak', () => {
  const recorded = docker[DOCKER_26.name]!;
  const spoken = PLAYS.filter(({ version }) => numberOf(version) <= numberOf(DOCKER_26.versionMax));

  expect(spoken.filter((one) => !isRecorded(recorded, one)).map(({ key }) => key)).toEqual([]);
});
