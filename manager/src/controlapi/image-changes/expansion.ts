import { invalid } from '@tessera/shared/errors';

export type Environment = ReadonlyMap<string, string>;

/** `KEY=VALUE` entries, the last of a name counts. */
export const environmentOf = (entries: readonly string[]): Environment =>
  new Map(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );

/**
 * A text with its variables replaced and its quotes and backslashes taken away, as a shell would.
 *
 * Source: Dockerfile reference, "Environment replacement": `$NAME`, `${NAME}`, and `:-` `-` `:+` `+` `:?` `?` in it.
 * @throws ClusterError `invalidArgument` in Docker's words
 */
export const expand = (text: string, environment: Environment): string =>
  new Expansion(text, environment).whole().text;

/** The same, split at the blanks that are neither quoted nor escaped; those of a variable's value split as well. */
export const expandWords = (text: string, environment: Environment): readonly string[] =>
  new Expansion(text, environment).whole().words;

/** A shell's name: letters, digits and `_`; one digit string, or one of the special characters. */
const NAME = /\d+|[@*#?\-$!]|[\p{L}_][\p{L}\p{Nd}_]*/uy;

class Expansion {
  #at = 0;

  constructor(
    private readonly source: string,
    private readonly environment: Environment,
  ) {}

  whole() {
    try {
      return this.#until(undefined);
    } catch (error) {
      throw invalid(`failed to process ${JSON.stringify(this.source)}: ${(error as Error).message}`);
    }
  }

  #peek = (): string | undefined => this.source[this.#at];
  #next = (): string | undefined => this.source[this.#at++];

  /** @param end what ends it, and is read over; undefined: the end of the text */
  #until(end: string | undefined): Words {
    const words = new Words();
    for (;;) {
      const next = this.#next();
      if (next === end) return words.ended();
      if (next === undefined) {
        throw new Error(
          end === '}'
            ? "syntax error: missing '}'"
            : `unexpected end of statement while looking for matching ${end}`,
        );
      }
      if (next === "'") words.addWhole(this.#singleQuoted());
      else if (next === '"') words.addWhole(this.#doubleQuoted());
      else if (next === '$') words.addSplit(this.#variable());
      else if (next !== '\\') words.addSplit(next);
      else words.addWhole(this.#next() ?? '');
    }
  }

  #singleQuoted(): string {
    const end = this.source.indexOf("'", this.#at);
    if (end < 0) throw new Error('unexpected end of statement while looking for matching single-quote');
    const quoted = this.source.slice(this.#at, end);
    this.#at = end + 1;
    return quoted;
  }

  #doubleQuoted(): string {
    let quoted = '';
    for (;;) {
      const next = this.#next();
      if (next === undefined) {
        throw new Error('unexpected end of statement while looking for matching double-quote');
      }
      if (next === '"') return quoted;
      if (next === '$') quoted += this.#variable();
      // A backslash before anything else stays: "a\b".
      else if (next === '\\' && ['"', '$', '\\'].includes(this.#peek() ?? '')) quoted += this.#next();
      else if (next !== '\\' || this.#peek() !== undefined) quoted += next;
    }
  }

  /** What follows a `$`. */
  #variable(): string {
    if (this.#peek() !== '{') {
      const name = this.#name();
      return name === '' ? '$' : (this.environment.get(name) ?? '');
    }
    this.#next();
    if (this.#peek() === undefined) throw new Error("syntax error: missing '}'");
    const name = this.#name();
    if (name === '') throw new Error('syntax error: bad substitution');
    let modifier = this.#next() ?? '';
    const value = this.environment.get(name);
    if (modifier === '}') return value ?? '';
    if (modifier === ':') modifier += this.#next() ?? '';
    if (!/^:?[-+?]$/.test(modifier)) throw new Error(`unsupported modifier (${modifier}) in substitution`);
    const word = this.#until('}').text;
    const isSet = value !== undefined && (value !== '' || !modifier.startsWith(':'));
    switch (modifier.at(-1)) {
      case '-':
        return isSet ? value : word;
      case '+':
        return isSet ? word : '';
      default:
        if (isSet) return value;
        throw new Error(
          `${name}: ${word || `is not allowed to be ${value === undefined ? 'unset' : 'empty'}`}`,
        );
    }
  }

  #name(): string {
    NAME.lastIndex = this.#at;
    const name = NAME.exec(this.source)?.[0] ?? '';
    this.#at += name.length;
    return name;
  }
}

class Words {
  readonly words: string[] = [];
  text = '';
  #word: string | undefined;

  addWhole(text: string): void {
    this.text += text;
    this.#word = (this.#word ?? '') + text;
  }

  addSplit(text: string): void {
    this.text += text;
    for (const character of text) {
      if (/\s/.test(character)) this.ended();
      else this.#word = (this.#word ?? '') + character;
    }
  }

  ended(): this {
    if (this.#word) this.words.push(this.#word);
    this.#word = undefined;
    return this;
  }
}
