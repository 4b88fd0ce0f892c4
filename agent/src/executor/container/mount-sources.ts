import { mkdir, readFile, realpath, stat } from 'node:fs/promises';
import { ClusterError, errorText, invalid } from '@tessera/shared/errors';
import type { Mount } from '@tessera/shared/model';
import { isApiSocket } from '@tessera/shared/volumes';

// The sources of binds, which are the host's: looked at before the shim is, in Docker's words.

/** Docker's answer to a bind whose source is missing; without it a retry storm would follow. */
export async function checkSources(mounts: readonly Mount[]): Promise<void> {
  for (const mount of mounts) {
    if (mount.type !== 'bind' || isApiSocket(mount)) continue;
    if (!mount.createSource && !(await stat(mount.source).catch(() => undefined)))
      throw invalid(`invalid mount config for type "bind": bind source path does not exist: ${mount.source}`);
  }
}

/** Makes the directories that `-v` names and the host has not, and looks at how the others' mounts travel. */
export async function prepareSources(mounts: readonly Mount[]): Promise<void> {
  await checkSources(mounts);
  for (const mount of mounts) {
    if (mount.type !== 'bind' || isApiSocket(mount)) continue;
    if (mount.createSource && !(await stat(mount.source).catch(() => undefined))) await makeSource(mount);
    if (/shared$|slave$/.test(mount.propagation)) await checkPropagation(mount);
  }
}

async function makeSource({ source }: Mount): Promise<void> {
  await mkdir(source, { recursive: true, mode: 0o755 }).catch((error: unknown) => {
    throw new ClusterError(
      'internal',
      `error while creating mount source path '${source}': ${errorText(error)}`,
    );
  });
}

/** Source: moby, daemon/oci_linux.go: ensureShared, ensureSharedOrSlave. */
async function checkPropagation({ source, propagation }: Mount): Promise<void> {
  const { mountPoint, tags } = await mountOf(await realpath(source));
  const isShared = tags.some((tag) => tag.startsWith('shared:'));
  const isSlave = tags.some((tag) => tag.startsWith('master:'));
  if (isShared || (isSlave && propagation.endsWith('slave'))) return;
  const what = propagation.endsWith('slave') ? 'shared or slave' : 'shared';
  throw new ClusterError(
    'internal',
    `path ${source} is mounted on ${mountPoint} but it is not a ${what} mount`,
  );
}

/** The mount that a path lies on, with what proc(5) says of how its mounts travel. */
async function mountOf(path: string) {
  let found = { mountPoint: '/', tags: [] as string[] };
  for (const line of (await readFile('/proc/self/mountinfo', 'utf8')).split('\n')) {
    const fields = line.split(' ');
    const mountPoint = unescaped(fields[4] ?? '');
    const covers = path === mountPoint || path.startsWith(mountPoint === '/' ? '/' : `${mountPoint}/`);
    // Of several on one point the last one is on top.
    if (mountPoint !== '' && covers && mountPoint.length >= found.mountPoint.length)
      found = { mountPoint, tags: fields.slice(6, fields.indexOf('-')) };
  }
  return found;
}

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
