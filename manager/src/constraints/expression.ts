import { invalid } from '@tessera/shared/errors';
import { RE2JS } from 're2js';

/** One expression of the stand-alone Swarm's language: `storage!=ssd`, `node==/host\d/`, `container!=~web*`. */
export interface Expression {
  readonly key: string;
  readonly operator: '==' | '!=';
  /** It is to be met if some node can; others may run it too. */
  readonly isSoft: boolean;
  readonly value: string;
  /** As the user wrote it. */
  readonly text: string;
  /** Whether any of the values is as the expression says, or with `!=` none of them. */
  matches(values: Iterable<string>): boolean;
}

const KEY = /^[a-z_][a-z0-9\-_.]+$/i;
const VALUE = /^[a-z0-9:\-_\s.*/()?+[\]\\^$|@]+$/i;

/**
 * @throws ClusterError `invalidArgument`, in the stand-alone Swarm's words
 * Source: docker/swarm scheduler/filter/expr.go
 */
export function parseExpression(text: string): Expression {
  const at = text.search(/[=!]=/);
  if (at < 0) throw invalid(`One of operator ==, != is expected in '${text}'`);
  const [key, operator] = [text.slice(0, at), text.slice(at, at + 2) as '==' | '!='];
  const written = text.slice(at + 2);
  const isSoft = written.startsWith('~');
  const value = isSoft ? written.slice(1) : written;
  if (!KEY.test(key)) throw invalid(`Key '${key}' is invalid`);
  if (!VALUE.test(value)) throw invalid(`Value '${written}' is invalid`);
  const isMatch = matcher(value);
  return {
    key,
    operator,
    isSoft,
    value,
    text,
    matches: (values) => [...values].some(isMatch) === (operator === '=='),
  };
}

/**
 * `/…/` is a regular expression that may match anywhere, in linear time whatever its user wrote; in all else `*`
 * stands for anything.
 */
function matcher(value: string): (actual: string) => boolean {
  if (value.length > 1 && value.startsWith('/') && value.endsWith('/')) {
    const pattern = compile(value.slice(1, -1));
    return (actual) => pattern.matcher(actual).find();
  }
  if (!value.includes('*')) return (actual) => actual === value;
  const [first = '', ...parts] = value.split('*');
  const last = parts.pop() ?? '';
  return (actual) => {
    if (!actual.startsWith(first) || actual.length < first.length + last.length) return false;
    const end = actual.length - last.length;
    if (!actual.endsWith(last)) return false;
    let position = first.length;
    for (const part of parts) {
      const found = actual.indexOf(part, position);
      if (found < 0 || found + part.length > end) return false;
      position = found + part.length;
    }
    return true;
  };
}

function compile(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    throw invalid(`Value '/${pattern}/' is invalid: ${(error as Error).message}`);
  }
}
