/** One way to prove who asks, as a registry names it. */
export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** By lower-case name. */
  readonly parameters: Readonly<Record<string, string>>;
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/;

/**
 * The challenges of a `WWW-Authenticate` header, in order. What cannot be read ends the list: a registry that
 * writes nonsense asks for nothing we know.
 *
 * Source: RFC 9110, 11.2 to 11.6.1.
 */
export function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  let rest = header.trim();
  while (rest !== '') {
    rest = rest.replace(/^[\s,]+/, '');
    const word = TOKEN.exec(rest)?.[0];
    if (word === undefined) break;
    const after = rest.slice(word.length);
    const current = challenges.at(-1);
    if (current && /^\s*=/.test(after)) {
      const [value, remaining] = parameterValue(after.replace(/^\s*=\s*/, ''));
      if (value === undefined) break;
      current.parameters[word.toLowerCase()] ??= value;
      rest = remaining;
    } else {
      challenges.push({
        scheme: word.toLowerCase(),
        parameters: Object.create(null) as Record<string, string>,
      });
      rest = after.trimStart();
    }
  }
  return challenges;
}

function parameterValue(text: string): [string | undefined, string] {
  if (!text.startsWith('"')) {
    const token = TOKEN.exec(text)?.[0];
    return [token, text.slice(token?.length ?? 0)];
  }
  const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(text);
  if (!quoted) return [undefined, ''];
  return [quoted[1]!.replace(/\\(.)/g, '$1'), text.slice(quoted[0].length)];
}
