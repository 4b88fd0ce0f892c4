import { invalid } from '../errors/index.js';
import { Mount } from '../model/index.js';

/** More than any real image declares; each is a directory, and a record of the cluster's or the node's. */
export const IMAGE_VOLUMES_MAX = 100;

/** As Go's path.Clean does it for a path that begins with a slash. */
export function cleanPath(path: string): string {
  if (!path.startsWith('/')) return path;
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

/**
 * The mounts of a container, and a volume without a name at each place that its image declares and none of them takes.
 *
 * @param declared the image's `VOLUME`s: a stranger's words
 * @throws ClusterError `invalidArgument`, in Docker's words
 */
export function withImageVolumes(mounts: readonly Mount[], declared: readonly string[]): Mount[] {
  const taken = new Set(mounts.map(({ target }) => target));
  const targets = [...new Set(declared.map(cleanPath))].filter((target) => !taken.has(target));
  if (targets.length > IMAGE_VOLUMES_MAX)
    throw invalid(`the image declares ${targets.length} volumes; ${IMAGE_VOLUMES_MAX} is the most`);
  for (const target of targets) {
    if (!target.startsWith('/'))
      throw invalid(
        `invalid mount path: '${target}' mount path must be absolute: it is a VOLUME of the image`,
      );
    if (target === '/')
      throw invalid("invalid volume specification: destination can't be '/': it is a VOLUME of the image");
  }
  return [
    ...mounts,
    ...targets.map((target) => Mount.fromPartial({ type: 'volume', target, origin: 'image' })),
  ];
}
