import { invalid } from '@tessera/shared/errors';

/**
 * Docker's `filters` query: within one key any value may match, across keys all must.
 *
 * Source: moby api/types/filters; old clients send a list, new ones a map to true, for the values.
 */
export class Filters<K extends string> {
  readonly #values: ReadonlyMap<string, readonly string[]>;

  private constructor(values: ReadonlyMap<string, readonly string[]>) {
    this.#values = values;
  }

  /** @throws ClusterError `invalidArgument` for text that is no filter, and for keys that are not among `keys` */
  static parse<K extends string>(text: string | null, keys: readonly K[]): Filters<K> {
    const values = new Map<string, readonly string[]>();
    for (const [key, content] of Object.entries(parseObject(text))) {
      if (!(keys as readonly string[]).includes(key)) {
        throw invalid(`invalid filter '${key}': filter by ${[...keys].sort().join(', ')}`);
      }
      values.set(key, valuesOf(key, content));
    }
    return new Filters(values);
  }

  has(key: K): boolean {
    return (this.#values.get(key)?.length ?? 0) > 0;
  }

  get(key: K): readonly string[] {
    return this.#values.get(key) ?? [];
  }

  /** A switch; undefined when it is not given. @throws ClusterError `invalidArgument` for anything else, in Docker's words */
  flag(key: K): boolean | undefined {
    const values = this.get(key);
    if (values.length === 0) return undefined;
    const [value = ''] = values;
    if (values.length === 1 && ['true', '1'].includes(value.toLowerCase())) return true;
    if (values.length === 1 && ['false', '0'].includes(value.toLowerCase())) return false;
    throw invalid(`invalid filter '${key}=[${values.join(' ')}]'`);
  }

  /** No value given for the key, or one that `matches` accepts. */
  any(key: K, matches: (value: string) => boolean): boolean {
    const values = this.get(key);
    return values.length === 0 || values.some(matches);
  }

  exactly(key: K, ...actual: readonly string[]): boolean {
    return this.any(key, (value) => actual.includes(value));
  }

  prefix(key: K, ...actual: readonly string[]): boolean {
    return this.any(key, (value) => actual.some((text) => text.startsWith(value)));
  }

  /** `name` or `name=value` against labels; every one given must be there. */
  labels(key: K, labels: Readonly<Record<string, string>>): boolean {
    return this.get(key).every((text) => {
      const at = text.indexOf('=');
      return at < 0 ? Object.hasOwn(labels, text) : labels[text.slice(0, at)] === text.slice(at + 1);
    });
  }
}

function valuesOf(key: string, content: unknown): string[] {
  if (Array.isArray(content)) return content.map(String);
  if (typeof content === 'object') return Object.keys(content ?? {});
  throw invalid(`invalid filter '${key}': write {"${key}":["VALUE"]}, not ${JSON.stringify(content)}`);
}

function parseObject(text: string | null): Record<string, unknown> {
  if (!text) return {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Falls through to the one message for both.
  }
  throw invalid(`invalid filters: write {"KEY":["VALUE"]}, not ${text.slice(0, 80)}`);
}
