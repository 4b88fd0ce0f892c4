import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { ROOT } from '../lab/paths.js';
import { stepsOf, titleOf } from './case.js';
import type { Transcript } from './play.js';
import type { Play, Transcripts } from './run.js';

const fileOf = (engine: string): string => `${ROOT}e2e/differential/docker-${engine}.json`;

/** What an engine answered when it was last asked; empty where it never was. */
export function readRecording(engine: string): Transcripts {
  const file = fileOf(engine);
  if (!existsSync(file)) return new Map();
  const recorded = JSON.parse(readFileSync(file, 'utf8')) as Record<string, Transcript>;
  return new Map(Object.entries(recorded));
}

/** Whether what was recorded is of the case as it is now. */
export function isRecorded(recorded: Transcripts, { key, row }: Play): boolean {
  const steps = recorded.get(key)?.map(({ step }) => step);
  return JSON.stringify(steps) === JSON.stringify(stepsOf(row.steps).map(titleOf));
}

/** Sorted, one step on each line, so that a change can be reviewed. */
export function writeRecording(engine: string, transcripts: Transcripts): string {
  const cases = [...transcripts].sort(([a], [b]) => (a < b ? -1 : 1));
  const text = cases.map(([key, steps]) => {
    const lines = steps.map((step) => `    ${JSON.stringify(step)}`);
    return `  ${JSON.stringify(key)}: [\n${lines.join(',\n')}\n  ]`;
  });
  const file = fileOf(engine);
  writeFileSync(file, `{\n${text.join(',\n')}\n}\n`);
  return file;
}
