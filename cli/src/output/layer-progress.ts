import type { ProgressJson } from '@tessera/shared/docker-api';
import { CliError } from '../cli-error.js';
import type { Output } from './output.js';

/**
 * Draws what a pull or push tells, as docker's client does: a line for each layer that changes in place on a terminal,
 * each step once elsewhere.
 *
 * @throws CliError the error it ends with
 */
export async function showProgress(out: Output, messages: AsyncIterable<ProgressJson>): Promise<void> {
  const rows = new Map<string, number>();
  for await (const { status, id, progress, error } of messages) {
    if (error) throw new CliError(error);
    if (!status) continue;
    const text = id ? `${id}: ${status}` : status;
    if (!out.isTty) {
      // Bars are for people who watch.
      if (!progress) out.line(text);
      continue;
    }
    const bar = progress ? ` ${progress}` : '';
    if (!id) {
      rows.clear();
      out.line(text);
      continue;
    }
    const row = rows.get(id);
    if (row === undefined) {
      rows.set(id, rows.size);
      out.line(fit(text + bar, out.columns));
      continue;
    }
    const up = rows.size - row;
    out.text(`\u001b[${up}A\r\u001b[2K${fit(text + bar, out.columns)}\u001b[${up}B\r`);
  }
}

/** A line that wraps would be two, and the cursor in the wrong one. */
const fit = (text: string, columns: number): string => text.slice(0, columns - 1);
