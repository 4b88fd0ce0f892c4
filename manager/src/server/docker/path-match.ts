import { invalid } from '@tessera/shared/errors';
import { RE2JS } from 're2js';

/**
 * Whether a pattern fits the whole of a path: `*` and `?` stand for anything but a slash, `[a-z]` and `[^a]` for one
 * character. In linear time, whatever the pattern. Source: Go's path.Match, by which Docker compares references.
 *
 * @throws ClusterError `invalidArgument` for a pattern that is none
 */
export function matchesPath(pattern: string, path: string): boolean {
  return expressionOf(pattern).matches(path);
}

function expressionOf(pattern: string): RE2JS {
  const bad = () => invalid(`syntax error in pattern '${pattern}'`);
  const parts = pattern.replace(/\*+/g, '*').match(/\\[\s\S]|\[\^?[^\]]+\]|[\s\S]/g) ?? [];
  const expression = parts.map((part) => {
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part === '[' || part === '\\') throw bad();
    if (part.length === 1) return escaped(part);
    if (part.startsWith('\\')) return escaped(part[1]!);
    const isNegated = part[1] === '^';
    const inside = part.slice(isNegated ? 2 : 1, -1).replace(/[\\^[\]]/g, '\\$&');
    return `[${isNegated ? '^/' : ''}${inside}]`;
  });
  try {
    return RE2JS.compile(expression.join(''), RE2JS.DOTALL);
  } catch {
    throw bad();
  }
}

const escaped = (character: string): string => character.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
