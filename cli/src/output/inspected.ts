import { type Cli, type Found, failIfAny, findEach } from '../cli.js';
import { CliError, EXIT_USAGE } from '../cli-error.js';
import type { Output } from './output.js';
import { compileTemplate } from './template.js';

export interface InspectFlags {
  readonly format?: string | undefined;
  readonly pretty?: boolean | undefined;
}

/** Prints what was inspected: a JSON array, or a template for each object. */
export function printInspected(out: Output, objects: readonly unknown[], format?: string): void {
  if (!format) {
    out.line(objects.length === 0 ? '[]' : JSON.stringify(objects, undefined, 4));
    return;
  }
  if (format === 'json') {
    for (const object of objects) out.line(JSON.stringify(object));
    return;
  }
  const render = compileTemplate(format);
  for (const object of objects) out.line(render(object));
}

/**
 * Prints those of several objects that are there, and then fails with why the others are not, as docker does.
 *
 * @param pretty the form for people, lines without their ends
 */
export async function inspectEach<T>(
  cli: Cli,
  names: readonly string[],
  { format, pretty: isPretty }: InspectFlags,
  find: (name: string) => Promise<T>,
  pretty?: (object: T) => readonly string[] | Promise<readonly string[]>,
): Promise<void> {
  if (isPretty && format) {
    throw new CliError(
      '--format is incompatible with human friendly format: leave --pretty or --format out',
      EXIT_USAGE,
    );
  }
  const { found, failures }: Found<T> = await findEach(cli, names, find);
  if (isPretty && pretty) {
    for (const [index, object] of found.entries()) {
      if (index > 0) cli.out.line('');
      for (const line of await pretty(object)) cli.out.line(line);
    }
  } else {
    printInspected(cli.out, found, format);
  }
  failIfAny(failures);
}
