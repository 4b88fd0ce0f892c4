import { makeBusyboxArchive } from '@tessera/agent/image/testing';

/** A docker-archive of busybox:latest, made from this machine's static busybox. Gives its path. */
export async function makeLabImage(path: string): Promise<string> {
  await makeBusyboxArchive(path);
  return path;
}
