import { ClusterError } from '@tessera/shared/errors';
import type { Route } from './route.js';

export interface Match {
  readonly route: Route;
  /** As they stand in the path: see `decoded`. */
  readonly params: Readonly<Record<string, string>>;
}

/** The parameters of a match, without escapes. @throws ClusterError `invalidArgument` for an escape that is none */
export function decoded(params: Match['params']): Match['params'] {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => {
      try {
        return [name, decodeURIComponent(value)];
      } catch (cause) {
        throw new ClusterError('invalidArgument', `invalid URL escape in ${JSON.stringify(value)}`, {
          cause,
        });
      }
    }),
  );
}

interface Compiled {
  readonly route: Route;
  readonly prefix: string;
  /** Undefined: the pattern has no parameter and must fit as a whole. */
  readonly param: string | undefined;
  readonly suffix: string;
}

/** Finds the route of a request. What is most specific wins: no parameter, then the longest suffix. */
export class Router {
  readonly #routes: readonly Compiled[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map(compile).sort(bySpecificity);
  }

  /** @param path without query and version */
  find(method: string, path: string): Match | { readonly route: undefined } {
    for (const { route, prefix, param, suffix } of this.#routes) {
      const value = match(path, prefix, param, suffix);
      if (value === undefined) continue;
      if (route.method !== method) continue;
      return { route, params: param === undefined ? {} : { [param]: value } };
    }
    return { route: undefined };
  }
}

function compile(route: Route): Compiled {
  const found = /^(.*?):([a-zA-Z]+)(.*)$/.exec(route.pattern);
  if (!found) return { route, prefix: route.pattern, param: undefined, suffix: '' };
  return { route, prefix: found[1]!, param: found[2]!, suffix: found[3]! };
}

function match(path: string, prefix: string, param: string | undefined, suffix: string): string | undefined {
  if (param === undefined) return path === prefix ? '' : undefined;
  if (path.length <= prefix.length + suffix.length) return undefined;
  if (!path.startsWith(prefix) || !path.endsWith(suffix)) return undefined;
  return path.slice(prefix.length, path.length - suffix.length);
}

const bySpecificity = (a: Compiled, b: Compiled): number =>
  Number(a.param !== undefined) - Number(b.param !== undefined) ||
  b.suffix.length - a.suffix.length ||
  b.prefix.length - a.prefix.length;
