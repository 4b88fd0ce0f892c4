import type { Output } from './output.js';
import { formatTable } from './table.js';
import { compileTemplate } from './template.js';

/** One line of a list, by field. Field names are those of docker's --format. */
export type Row = Readonly<Record<string, string>>;

export interface ListStyle {
  readonly format?: string | undefined;
  readonly quiet?: boolean | undefined;
}

/**
 * Prints a list as docker does: a table, the ids alone, a JSON object a line, or a Go template for each.
 *
 * @param columns field and header of the table's columns
 * @param idField what `quiet` prints
 */
export function printList(
  out: Output,
  columns: readonly (readonly [field: string, header: string])[],
  idField: string,
  rows: readonly Row[],
  { format, quiet }: ListStyle,
): void {
  if (quiet && !format) {
    for (const row of rows) out.line(row[idField] ?? '');
  } else if (!format || format === 'table') {
    const header = columns.map(([, title]) => title);
    const cells = rows.map((row) => columns.map(([field]) => row[field] ?? ''));
    out.text(formatTable([header, ...cells]));
  } else if (format === 'json') {
    for (const row of rows) out.line(JSON.stringify(row));
  } else if (format.startsWith('table ')) {
    printTemplateTable(out, columns, rows, format.slice('table '.length));
  } else {
    const render = compileTemplate(format, NONE_MISSING);
    for (const row of rows) out.line(render(row));
  }
}

/** A line has all of its fields. */
const NONE_MISSING = () => false;

/** The header is the template itself, over the columns' titles. */
function printTemplateTable(
  out: Output,
  columns: readonly (readonly [string, string])[],
  rows: readonly Row[],
  template: string,
): void {
  const render = compileTemplate(template, NONE_MISSING);
  // A field that is no column by itself has its own name for a title.
  const fields = Object.keys(rows[0] ?? {}).map((field) => [field, field.toUpperCase()] as const);
  const titles = Object.fromEntries([...fields, ...columns]);
  const lines = [titles, ...rows].map((row) => render(row).split('\t'));
  out.text(formatTable(lines));
}
