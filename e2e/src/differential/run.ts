import { API_VERSION, type ApiVersion, type Case, type Difference } from './case.js';
import { allows, compare, type Deviation } from './compare.js';
import { DIFFERENCES } from './differences.js';
import { type Engine, play, type Transcript } from './play.js';

/** Transcripts by `CASE at VERSION`. */
export type Transcripts = ReadonlyMap<string, Transcript>;

/** A case at one version. */
export interface Play {
  readonly key: string;
  readonly row: Case;
  readonly version: ApiVersion;
}

const LANES = 4;

export const numberOf = (version: ApiVersion): number => Number(version.split('.')[1]);

export const playsOf = (table: readonly Case[]): Play[] =>
  table.flatMap((row) =>
    (row.versions ?? [API_VERSION]).map((version) => ({ key: `${row.name} at ${version}`, row, version })),
  );

/** Plays all that the engine can speak, several at a time; those that must be alone come last, one by one. */
export async function playAll(
  engine: Engine,
  plays: readonly Play[],
  done: (play: Play) => void = () => {},
): Promise<Transcripts> {
  const transcripts = new Map<string, Transcript>();
  const spoken = plays.filter(({ version }) => numberOf(version) <= numberOf(engine.versionMax));
  const lane = async (queue: Play[]) => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      transcripts.set(next.key, await play(engine, next.row, next.version));
      done(next);
    }
  };
  const together = spoken.filter(({ row }) => !row.alone);
  await Promise.all(Array.from({ length: LANES }, () => lane(together)));
  await lane(spoken.filter(({ row }) => row.alone));
  return transcripts;
}

export interface Verdict {
  /** No engine of Docker's was asked at this version. */
  readonly isUncompared: boolean;
  readonly unexpected: readonly Deviation[];
  readonly intended: readonly { readonly deviation: Deviation; readonly difference: Difference }[];
}

/** @param docker transcripts of each engine of Docker's by its name */
export function judge(
  { key, row }: Play,
  ours: Transcripts,
  docker: Readonly<Record<string, Transcripts>>,
): Verdict {
  const theirs = Object.entries(docker).flatMap(([name, transcripts]) => {
    const transcript = transcripts.get(key);
    return transcript ? [[name, transcript] as const] : [];
  });
  const deviations = theirs.length > 0 ? compare(ours.get(key) ?? [], Object.fromEntries(theirs)) : [];
  const differences = [...(row.differs ?? []), ...DIFFERENCES];
  const judged = deviations.map((deviation) => ({
    deviation,
    difference: differences.find((candidate) => allows(candidate, deviation)),
  }));
  return {
    isUncompared: theirs.length === 0,
    unexpected: judged.filter(({ difference }) => !difference).map(({ deviation }) => deviation),
    intended: judged.flatMap(({ deviation, difference }) => (difference ? [{ deviation, difference }] : [])),
  };
}

/** Differences that are written down and were not met in any case: the reason has gone, so should they. */
export function unmetDifferences(verdicts: readonly (readonly [Play, Verdict])[]): string[] {
  const met = new Set(verdicts.flatMap(([, { intended }]) => intended.map(({ difference }) => difference)));
  const own = verdicts.flatMap(([{ row }]) =>
    row.awaits ? [] : (row.differs ?? []).map((difference) => ({ difference, in: row.name })),
  );
  const everywhere = DIFFERENCES.map((difference) => ({ difference, in: 'every case' }));
  const unmet = [...own, ...everywhere].filter(({ difference }) => !met.has(difference));
  return [...new Set(unmet.map((one) => `${one.in}: ${one.difference.at}`))];
}
