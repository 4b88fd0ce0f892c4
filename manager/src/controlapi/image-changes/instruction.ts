import { invalid } from '@tessera/shared/errors';

/** One instruction as it stands in a Dockerfile: `HEALTHCHECK --interval=5s CMD true`. */
export interface Instruction {
  /** As it was written; case does not matter. */
  readonly name: string;
  /** The words that begin with `--`, before the others. */
  readonly flags: readonly string[];
  readonly rest: string;
}

/** `\v` and the like are blanks to Dockerfiles; a line feed ends the instruction. */
const BLANKS = /[\t\v\f\r ]+/;
const CONTINUED = /\\[ \t]*$/;

/**
 * The instructions of a text, line by line: comments and empty lines go, a line that ends with a backslash goes on with
 * the next. Each is bounded by what the request is.
 *
 * Source: Dockerfile reference, "Format".
 * @throws ClusterError `invalidArgument` when there is none
 */
export function parseInstructions(text: string): Instruction[] {
  const instructions: Instruction[] = [];
  let begun: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    const content = begun === undefined ? line.trimStart() : line;
    if (/^\s*#/.test(line) || content.trim() === '') continue;
    const joined = (begun ?? '') + content.replace(CONTINUED, '');
    begun = CONTINUED.test(content) ? joined : undefined;
    if (begun === undefined) instructions.push(parseInstruction(joined));
  }
  if (begun !== undefined) instructions.push(parseInstruction(begun));
  if (instructions.length === 0) throw invalid('file with no instructions');
  return instructions;
}

export function parseInstruction(line: string): Instruction {
  const { first: name, rest } = splitFirst(line.trim());
  const flags: string[] = [];
  let remaining = rest;
  while (remaining.startsWith('--')) {
    const { first, rest: next } = splitFirst(remaining);
    remaining = next;
    if (first === '--') break;
    flags.push(first);
  }
  return { name, flags, rest: remaining };
}

/** The first word, and what follows the blanks behind it. */
export function splitFirst(text: string): { readonly first: string; readonly rest: string } {
  const blanks = BLANKS.exec(text);
  if (!blanks) return { first: text, rest: '' };
  return { first: text.slice(0, blanks.index), rest: text.slice(blanks.index + blanks[0].length).trim() };
}

export const splitBlanks = (text: string): string[] => text.split(BLANKS).filter((word) => word !== '');

/** `["a", "b"]`; undefined for what is no JSON array. @throws ClusterError for one that holds other than texts */
export function parseJsonArray(text: string): string[] | undefined {
  if (!text.trimStart().startsWith('[')) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!Array.isArray(value)) return undefined;
  if (!value.every((item) => typeof item === 'string')) {
    throw invalid('when using JSON array syntax, arrays must be comprised of strings only');
  }
  return value;
}

/**
 * `NAME=VALUE …`, or in its old form `NAME VALUE`, where the value is the rest of the line. Quotes and escapes are left
 * for the expansion to see.
 *
 * @throws ClusterError `invalidArgument` in Docker's words
 */
export function parsePairs(name: string, text: string): (readonly [key: string, value: string])[] {
  const words = splitQuoted(text);
  const [first] = words;
  if (first === undefined) throw invalid(`${name} requires at least one argument`);
  if (!first.includes('=')) {
    const { first: key, rest } = splitFirst(text);
    if (rest === '') throw invalid(`${name} must have two arguments`);
    return [[key, rest]];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 0) {
      throw invalid(
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
      );
    }
    if (at === 0) throw invalid(`${name} names can not be blank`);
    return [word.slice(0, at), word.slice(at + 1)] as const;
  });
}

/** Words by blanks outside quotes; quotes and backslashes stay in them. */
function splitQuoted(text: string): string[] {
  const words = text.match(/(?:\\[\s\S]|'[^']*(?:'|$)|"(?:\\[\s\S]|[^"\\])*(?:"|\\?$)|[^\s\\'"]|\\$)+/g);
  return words ? words.map((word) => word.replace(/^((?:[^\\]|\\[\s\S])*)\\$/, '$1')) : [];
}
