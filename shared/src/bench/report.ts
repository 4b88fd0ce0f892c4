/** One measured figure beside its peer's and the kernel's floor. Undefined: not measured here. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly peer?: number | undefined;
  readonly peerName?: string | undefined;
  readonly floor?: number | undefined;
}

/** The value below which `fraction` of the samples lie (nearest rank). */
export function quantile(samples: readonly number[], fraction: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length * fraction) - 1)] ?? Number.NaN;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

const shown = (value: number | undefined): number | string =>
  value === undefined || Number.isNaN(value) ? '–' : Number(value.toPrecision(3));

/**
 * Prints a benchmark's result: a table for people and, when `json`, one last line for programs:
 * `{"bench":NAME,"metrics":[{"name","unit","ours","peer","peerName","floor"}…]}`.
 */
export function printReport(
  bench: string,
  metrics: readonly Metric[],
  options: { readonly json: boolean; readonly notes?: readonly string[] },
): void {
  const rows = metrics.map(({ name, unit, ours, peer, peerName, floor }) => [
    name,
    {
      unit,
      ours: shown(ours),
      peer: shown(peer),
      'ours/peer': peer === undefined ? '–' : shown(ours / peer),
      ...(peerName === undefined ? {} : { 'peer is': peerName }),
      floor: shown(floor),
      'ours/floor': floor === undefined ? '–' : shown(ours / floor),
    },
  ]);
  console.table(Object.fromEntries(rows));
  for (const note of options.notes ?? []) console.log(note);
  if (options.json) console.log(JSON.stringify({ bench, metrics }));
}
