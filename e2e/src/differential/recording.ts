import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ROOT } from '../lab/paths.js';
import { stepsOf, titleOf } from './case.js';
import type { Play, Transcripts } from './run.js';
import type { Leaves } from './transcript.js';

const fileOf = (engine: string): string => `${ROOT}e2e/differential/docker-${engine}.jsonl`;

/** What an engine answered when it was last asked; empty where it never was. */
export function readRecording(engine: string): Transcripts {
  const file = fileOf(engine);
  const transcripts = new Map<string, { step: string; leaves: Leaves }[]>();
  if (!existsSync(file)) return transcripts;
  for (const line of readFileSync(file, 'utf8').split('\n').filter(Boolean)) {
    const { case: key, ...step } = JSON.parse(line) as { case: string; step: string; leaves: Leaves };
    transcripts.set(key, [...(transcripts.get(key) ?? []), step]);
  }
  return transcripts;
}

/** Whether what was recorded is of the case as it is now. */
export function isRecorded(recorded: Transcripts, { key, row }: Play): boolean {
  const steps = recorded.get(key)?.map(({ step }) => step);
  return JSON.stringify(steps) === JSON.stringify(stepsOf(row.steps).map(titleOf));
}

/** Sorted, one step on each line, so that a change can be reviewed. Gives the file. */
export function writeRecording(engine: string, transcripts: Transcripts): string {
  const cases = [...transcripts].sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = cases.flatMap(([key, steps]) => steps.map((step) => JSON.stringify({ case: key, ...step })));
  const file = fileOf(engine);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}
