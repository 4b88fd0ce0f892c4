import { Helper } from './helper.js';
import { callAsync, declare } from './library.js';

/** Where an image has what a volume is to be filled with. */
export interface FillSource {
  /** A directory that is empty and stays so. */
  readonly empty: string;
  /** Of the image's tree; links in it are followed inside that tree. */
  readonly target: string;
  /** The directory that the layers' names are relative to. */
  readonly base: string;
  /** Top first. */
  readonly layers: readonly string[];
}

/** What the hard links of an image are remembered in, beside some buffers. */
const MEMORY_MAX_BYTES = 512 * 2 ** 20;

/**
 * Fills an empty directory with what an image has; one that is not empty stays as it is. Whatever was under way when an
 * earlier one died is finished first, or done anew. Owners, modes, times and attributes are kept.
 *
 * @param stage directory of the same file system that the copy is made in, before it is moved into `data` whole
 * @param source undefined: only finishes
 * @throws ClusterError `internal` where the image has a file there, `resourceExhausted` on a full disk, or where it has
 *   more hard links than `memoryMaxBytes` can hold
 */
export async function fillVolume(
  stage: string,
  data: string,
  source: FillSource | undefined,
  signal: AbortSignal,
  memoryMaxBytes = MEMORY_MAX_BYTES,
): Promise<void> {
  const from = source ? [source.empty, source.target, source.base, ...source.layers] : [];
  const words = [`--memory-max=${memoryMaxBytes}`, stage, data, ...from];
  await new Helper('ts-fill', { arguments: words }, signal).finish();
}

function load() {
  return {
    mount: declare(
      'int rt_volume_mount(const char *device, const char *target, const char *type, uint32_t flags, const char *data, _Out_ rt_error *err)',
    ),
    unmount: declare('int rt_volume_unmount(const char *target, _Out_ rt_error *err)'),
  };
}
let loaded: ReturnType<typeof load> | undefined;
const native = () => {
  loaded ??= load();
  return loaded;
};

export interface VolumeMountRequest {
  readonly device: string;
  readonly target: string;
  readonly type: string;
  /** MS_* of mount(2). */
  readonly flags: number;
  /** What is the file system's own, with commas between. */
  readonly data: string;
}

/** Mounts on the host, for all containers that use it. */
export async function mountVolume(request: VolumeMountRequest): Promise<void> {
  const { device, target, type, flags, data } = request;
  await callAsync(native().mount, device, target, type, flags, data);
}

/** What is not mounted is fine. */
export async function unmountVolume(target: string): Promise<void> {
  await callAsync(native().unmount, target);
}
