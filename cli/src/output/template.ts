import { CliError } from '../cli-error.js';
import { mayBeMissing } from './optional-fields.js';

// The part of Go's text/template that people use in --format: fields, json, len, index, upper, lower, join, printf-less;
// range, if, else, with, end. What is beyond it is an error that says so.

type Scope = { readonly dot: unknown; readonly root: unknown };
type Piece = (scope: Scope) => string;

/**
 * @param mayMiss whether an object without this field, itself in the field `parent`, just has nothing to say there
 * @throws CliError for a template that cannot be understood, and when a field is used that is not there
 */
export function compileTemplate(
  template: string,
  mayMiss: (field: string, parent: string | undefined) => boolean = mayBeMissing,
): (value: unknown) => string {
  const unescaped = template.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
  const tokens = unescaped.split(/(\{\{-?.*?-?\}\})/s);
  const parser = new Parser(template, trimmed(tokens), mayMiss);
  const piece = parser.parse();
  return (value) => piece({ dot: value, root: value });
}

const isAction = (token: string): boolean => token.startsWith('{{') && token.endsWith('}}');

/** `{{-` and `-}}` take the white space beside them. */
function trimmed(tokens: readonly string[]): string[] {
  return tokens.map((token, index) => {
    if (isAction(token)) return token.replace(/^\{\{-/, '{{').replace(/-\}\}$/, '}}');
    const left = tokens[index - 1]?.endsWith('-}}') ? token.trimStart() : token;
    return tokens[index + 1]?.startsWith('{{-') ? left.trimEnd() : left;
  });
}

class Parser {
  #at = 0;
  constructor(
    private readonly source: string,
    private readonly tokens: readonly string[],
    private readonly mayMiss: (field: string, parent: string | undefined) => boolean,
  ) {}

  parse(): Piece {
    const { piece, stop } = this.#block();
    if (stop !== undefined) throw this.#bad(`unexpected {{${stop}}}`);
    return piece;
  }

  #block(): { piece: Piece; stop: string | undefined } {
    const pieces: Piece[] = [];
    const joined: Piece = (scope) => pieces.map((piece) => piece(scope)).join('');
    while (this.#at < this.tokens.length) {
      const token = this.tokens[this.#at++]!;
      if (!isAction(token)) {
        if (token.includes('{{')) throw this.#bad('unclosed action');
        if (token !== '') pieces.push(() => token);
        continue;
      }
      const action = token.slice(2, -2).trim();
      const [word = ''] = action.split(/\s+/, 1);
      if (word === 'end' || word === 'else') return { piece: joined, stop: action };
      if (word === 'range' || word === 'if' || word === 'with') {
        pieces.push(this.#control(word, action.slice(word.length)));
      } else {
        const value = this.#pipeline(action);
        pieces.push((scope) => show(value(scope)));
      }
    }
    return { piece: joined, stop: undefined };
  }

  #control(word: 'range' | 'if' | 'with', condition: string): Piece {
    const value = this.#pipeline(condition);
    const body = this.#block();
    const otherwise = body.stop === 'else' ? this.#block() : undefined;
    if ((otherwise ?? body).stop !== 'end') throw this.#bad(`{{${word}}} has no {{end}}`);
    return (scope) => {
      const found = value(scope);
      if (!isTruthy(found)) return otherwise?.piece(scope) ?? '';
      if (word === 'if') return body.piece(scope);
      if (word === 'with') return body.piece({ ...scope, dot: found });
      return Object.values(found as object)
        .map((dot: unknown) => body.piece({ ...scope, dot }))
        .join('');
    };
  }

  #pipeline(text: string): (scope: Scope) => unknown {
    const stages = text.split('|').map((stage) => stage.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []);
    return (scope) => {
      let value: unknown;
      stages.forEach((words, index) => {
        value = this.#evaluate(words, scope, index > 0 ? [value] : []);
      });
      return value;
    };
  }

  #evaluate(words: readonly string[], scope: Scope, piped: readonly unknown[]): unknown {
    const [first = '', ...rest] = words;
    const call = FUNCTIONS[first];
    if (call) return call(...rest.map((word) => this.#operand(word, scope)), ...piped);
    if (rest.length > 0 || piped.length > 0 || first === '') {
      throw this.#bad(`function "${first}" not defined; there are ${Object.keys(FUNCTIONS).join(', ')}`);
    }
    return this.#operand(first, scope);
  }

  #operand(word: string, { dot, root }: Scope): unknown {
    if (word.startsWith('"')) return JSON.parse(word) as unknown;
    if (/^-?\d+$/.test(word)) return Number(word);
    const base = word.startsWith('$') ? root : dot;
    const path = word.replace(/^\$/, '');
    if (!path.startsWith('.') && path !== '') throw this.#bad(`function "${word}" not defined`);
    let value: unknown = base;
    let parent: string | undefined;
    for (const key of path.split('.').filter(Boolean)) {
      value = this.#field(word, value, key, parent);
      parent = key;
    }
    return value;
  }

  /** A field that no such object has is a typing error, and not an empty value. */
  #field(word: string, object: unknown, key: string, parent: string | undefined): unknown {
    if (object === null || object === undefined) return undefined;
    if (Object.hasOwn(object, key)) return (object as Record<string, unknown>)[key];
    const isStruct = typeof object === 'object' && !Array.isArray(object);
    if (isStruct && this.mayMiss(key, parent)) return undefined;
    const fields = isStruct ? `; there are ${Object.keys(object).join(', ')}` : '';
    throw this.#bad(`executing at <${word}>: can't evaluate field ${key}${fields}`);
  }

  #bad(why: string): CliError {
    return new CliError(`template parsing error in --format '${this.source}': ${why}`);
  }
}

const FUNCTIONS: Readonly<Record<string, (...values: unknown[]) => unknown>> = {
  json: (value) => JSON.stringify(value ?? null),
  len: (value) => Object.keys((value as object | undefined) ?? {}).length,
  index: (value, ...keys) =>
    keys.reduce((found, key) => (found as Record<string, unknown> | undefined)?.[String(key)], value),
  upper: (value) => show(value).toUpperCase(),
  lower: (value) => show(value).toLowerCase(),
  join: (list, separator) => ((list as unknown[] | undefined) ?? []).map(show).join(String(separator ?? '')),
  println: (...values) => `${values.map(show).join(' ')}\n`,
};

function isTruthy(value: unknown): boolean {
  return typeof value === 'object' && value !== null ? Object.keys(value).length > 0 : Boolean(value);
}

/** As Go prints a value. */
function show(value: unknown): string {
  if (value === undefined || value === null) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`;
  if (typeof value !== 'object') return String(value);
  const entries = Object.entries(value).map(([key, content]) => `${key}:${show(content)}`);
  return `map[${entries.join(' ')}]`;
}
