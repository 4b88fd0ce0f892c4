import { posix } from 'node:path';
import { CliError } from '../cli-error.js';

/** One side of a copy: a path here, or one in a container. */
export interface CopyEnd {
  readonly container: string | undefined;
  readonly path: string;
}

/** Source: docker/cli cli/command/container/cp.go, splitCpArg: `./a:b` and `/a:b` are files here. */
export function parseCopyEnd(text: string): CopyEnd {
  const at = text.indexOf(':');
  if (text.startsWith('/') || text.startsWith('.') || at < 0) return { container: undefined, path: text };
  return { container: text.slice(0, at), path: text.slice(at + 1) };
}

/** A path's directory and its last part; "/." at its end, which means what is in a directory, is a part. */
export function splitPath(path: string): { readonly dir: string; readonly base: string } {
  const clean = posix.normalize(path).replace(/(?<=.)\/+$/, '');
  const isContent = /(^|\/)\.$/.test(path) && clean !== '.';
  return isContent ? { dir: clean, base: '.' } : { dir: posix.dirname(clean), base: posix.basename(clean) };
}

/** Whether a path can only be a directory's. */
const isDirectoryPath = (path: string): boolean => /(\/|(^|\/)\.)$/.test(path);

export interface CopySource {
  readonly path: string;
  readonly isDirectory: boolean;
  /** What it is called in its archive, where that is not the last part of its path. */
  readonly name?: string;
}

export interface CopyTarget {
  readonly path: string;
  /** Undefined: there is nothing yet. */
  readonly isDirectory: boolean | undefined;
}

/** Where an archive is unpacked, and what the thing in it is to be called there. */
export interface CopyPlan {
  readonly dir: string;
  readonly rename: { readonly from: string; readonly to: string } | undefined;
}

/**
 * What a copy means, as `cp -r` has it: into a directory that is there, else as its name says.
 *
 * Source: moby pkg/archive/copy.go, PrepareArchiveCopy.
 */
export function planCopy(source: CopySource, target: CopyTarget): CopyPlan {
  if (target.isDirectory) return { dir: target.path, rename: undefined };
  if (target.isDirectory === false && source.isDirectory) throw new CliError('cannot copy directory');
  if (!source.isDirectory && isDirectoryPath(target.path)) {
    const isFile = target.isDirectory === false;
    throw new CliError(isFile ? 'not a directory' : 'no such directory');
  }
  const { dir, base } = splitPath(target.path);
  return { dir, rename: { from: source.name ?? splitPath(source.path).base, to: base } };
}

/** The name of an entry under a plan. */
export function renamed(name: string, rename: CopyPlan['rename']): string {
  if (!rename) return name;
  const { from, to } = rename;
  // "./a" where the content of a directory is copied as a directory of another name.
  if (name === from || name === `${from}/`) return to;
  return name.startsWith(`${from}/`) ? `${to}/${name.slice(from.length + 1)}` : name;
}
