import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { errnoSentence, mountVolume, NativeCallError, unmountVolume } from '@tessera/native';
import { ClusterError, errorText } from '@tessera/shared/errors';
import type { LocalMount } from '@tessera/shared/volumes';

/**
 * Volumes that are a mount of their own: made on this host when the first container that uses one starts, and taken away
 * when the last one has ended. What is mounted is asked of the kernel, so mounts outlive the agent.
 */
export class LocalMounts {
  readonly #holders = new Map<string, Set<string>>();

  /** @throws ClusterError `failedPrecondition` when it cannot be mounted */
  async hold(path: string, mount: LocalMount, holder: string): Promise<void> {
    const holders = this.#holders.get(path) ?? new Set();
    this.#holders.set(path, holders);
    if (!(await isMounted(path))) {
      try {
        await mountVolume({ ...mount, data: await withAddress(mount), target: path });
      } catch (error) {
        const { device, flags, data } = mount;
        const what = `${device}:${path}, flags: 0x${flags.toString(16)}${data ? `, data: ${data}` : ''}`;
        throw new ClusterError(
          'failedPrecondition',
          `failed to mount local volume: mount ${what}: ${error instanceof NativeCallError ? errnoSentence(error.errno) : errorText(error)}`,
        );
      }
    }
    holders.add(holder);
  }

  async letGo(path: string, holder: string): Promise<void> {
    const holders = this.#holders.get(path);
    if (!holders?.delete(holder) || holders.size > 0) return;
    this.#holders.delete(path);
    await unmountVolume(path);
  }

  /** Nobody holds it: what an earlier agent left mounted there goes. */
  async settle(path: string): Promise<void> {
    if ((this.#holders.get(path)?.size ?? 0) === 0 && (await isMounted(path))) await unmountVolume(path);
  }
}

/** The kernel takes the server of an NFS or CIFS share by its address alone. Source: moby, volume/local. */
async function withAddress({ type, data }: LocalMount): Promise<string> {
  const name = /(?:^|,)addr=([^,]+)/.exec(data)?.[1];
  if (!/^(nfs|cifs)/.test(type) || name === undefined || isIP(name) !== 0) return data;
  const { address } = await lookup(name);
  return data.replace(`addr=${name}`, `addr=${address}`);
}

async function isMounted(path: string): Promise<boolean> {
  const escaped = path.replace(/[ \t\n\\]/g, (c) => `\\${c.charCodeAt(0).toString(8).padStart(3, '0')}`);
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  return mounts.includes(` ${escaped} `) && mounts.split('\n').some((line) => line.split(' ')[4] === escaped);
}
