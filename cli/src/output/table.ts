const COLUMN_WIDTH_MIN = 10;
const GAP = 3;

/** Rows in columns as docker's lists have them: at least ten wide, three apart, the last one not padded to the edge. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? COLUMN_WIDTH_MIN - GAP, [...cell].length);
    });
  }
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === row.length - 1 ? cell : cell + ' '.repeat(widths[column]! + GAP - [...cell].length),
        )
        .join('')
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join('');
}
