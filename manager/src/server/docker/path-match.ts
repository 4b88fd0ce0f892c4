import { invalid } from '@tessera/shared/errors';

/**
 * Whether a pattern fits the whole of a path: `*` and `?` stand for anything but a slash, `[a-z]` and `[^a]` for one
 * character. Source: Go's path.Match, by which Docker compares references.
 *
 * @throws ClusterError `invalidArgument` for a pattern that is none
 */
export function matchesPath(pattern: string, path: string): boolean {
  return expressionOf(pattern).test(path);
}

function expressionOf(pattern: string): RegExp {
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
    return new RegExp(`^${expression.join('')}$`, 'u');
  } catch {
    throw bad();
  }
}

const escaped = (character: string): string => character.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
