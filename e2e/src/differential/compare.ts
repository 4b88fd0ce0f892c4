import type { Difference } from './case.js';
import type { Transcript } from './play.js';
import type { Leaves } from './transcript.js';

/** One leaf in which an answer of ours is none of Docker's. */
export interface Deviation {
  /** `STEP LEAF`, as differences name it. */
  readonly at: string;
  readonly ours: unknown;
  /** By engine; an engine that was not asked is not among them. */
  readonly docker: Readonly<Record<string, unknown>>;
}

/**
 * Leaf by leaf: ours must be what one of the engines gives. Where Docker itself has changed, either is Docker's.
 * @param docker transcripts by engine
 */
export function compare(ours: Transcript, docker: Readonly<Record<string, Transcript>>): Deviation[] {
  const engines = Object.entries(docker);
  return ours.flatMap(({ step, leaves }, index) => {
    const theirs = engines.map(([name, transcript]) => [name, transcript[index]?.leaves ?? {}] as const);
    return leafPaths([leaves, ...theirs.map(([, found]) => found)])
      .filter(
        (path) => !theirs.some(([, found]) => JSON.stringify(found[path]) === JSON.stringify(leaves[path])),
      )
      .map((path) => ({
        at: `${step} ${path}`,
        ours: leaves[path],
        docker: Object.fromEntries(theirs.map(([name, found]) => [name, found[path]])),
      }));
  });
}

const leafPaths = (all: readonly Leaves[]): string[] => [
  ...new Set(all.flatMap((leaves) => Object.keys(leaves))),
];

export function allows({ at }: Difference, deviation: Deviation): boolean {
  const pattern = at.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*');
  return new RegExp(`^${pattern}$`, 's').test(deviation.at);
}

/** For people: what was asked, what Docker says, what we say. */
export function describeDeviation({ at, ours, docker }: Deviation): string {
  const theirs = Object.entries(docker).map(([name, value]) => `    ${name}: ${textOf(value)}`);
  return [`  ${at}`, ...theirs, `    ours: ${textOf(ours)}`].join('\n');
}

const textOf = (value: unknown): string => (value === undefined ? '(nothing)' : JSON.stringify(value));
