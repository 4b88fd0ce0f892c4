import { posix } from 'node:path';
import type { PathIn } from '@tessera/native';

/**
 * A path in a container as its user wrote it. Source: moby container/archive.go, ResolvePath: the last part is not
 * followed if it is a link, unless a slash or "/." behind it says that a directory is meant.
 */
export function pathIn(raw: string): PathIn {
  const path = posix.join('/', raw).replace(/(?<=.)\/+$/, '');
  const base = posix.basename(path) || '/';
  // An empty path is the root's own content.
  if (raw === '' || /(^|\/)\.$/.test(raw)) return { path, follow: true, name: '.' };
  return { path, follow: raw.endsWith('/'), name: base };
}
