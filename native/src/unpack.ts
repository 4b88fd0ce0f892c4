import { ClusterError } from '@tessera/shared/errors';
import { giveBack, type HelperInput, readingFrom } from './connection.js';
import { Helper, type ReportLine } from './helper.js';
import { callAsync, declare, type NativeFunction } from './library.js';

/** What one archive may cost at most. */
export interface UnpackBounds {
  /** Uncompressed bytes, and what its files hold together. */
  readonly bytesMax: number;
  readonly entriesMax: number;
  /** Uncompressed by compressed bytes, looked at beyond `ratioFloorBytes` uncompressed ones. */
  readonly ratioMax: number;
  readonly ratioFloorBytes: number;
  /** Address space of the unpacker. */
  readonly memoryMaxBytes: number;
}

/** Above real images, below what would hurt a host. */
export const DEFAULT_UNPACK_BOUNDS: UnpackBounds = {
  bytesMax: 64 * 2 ** 30,
  entriesMax: 5_000_000,
  ratioMax: 200,
  ratioFloorBytes: 2 ** 30,
  memoryMaxBytes: 512 * 2 ** 20,
};

export interface UnpackRequest {
  /**
   * `layer`: an image's layer, with whiteouts made overlayfs's and all metadata kept.
   * `archive`: what images come in; files, directories and links alone, owned by root.
   */
  readonly mode: 'layer' | 'archive';
  /** An empty directory. Nothing is made outside it; what was made before a failure stays in it. */
  readonly root: string;
  /** A descriptor that is read from where it stands, or what comes. Plain, gzip or zstd. */
  readonly input: number | HelperInput;
  readonly bounds?: UnpackBounds;
}

export interface UnpackReport {
  /** SHA-256 of the uncompressed archive: `sha256:…`. */
  readonly diffId: string;
  /** What its files hold together. */
  readonly bytes: number;
  readonly tarBytes: number;
  readonly entries: number;
}

/**
 * Unpacks one archive by `ts-unpack`, a confined process that ends with ours.
 *
 * @throws ClusterError `invalidArgument` for a bad archive, `resourceExhausted` beyond the bounds
 */
export async function unpackArchive(request: UnpackRequest, signal: AbortSignal): Promise<UnpackReport> {
  const { mode, root, input, bounds = DEFAULT_UNPACK_BOUNDS } = request;
  const { arguments: more, ...streams } =
    typeof input === 'number' ? { arguments: [], input } : readingFrom(input);
  const unpacker = new Helper(
    'ts-unpack',
    {
      arguments: [
        `--root=${root}`,
        `--bytes-max=${bounds.bytesMax}`,
        `--entries-max=${bounds.entriesMax}`,
        `--ratio-max=${bounds.ratioMax}`,
        `--ratio-floor=${bounds.ratioFloorBytes}`,
        `--memory-max=${bounds.memoryMaxBytes}`,
        ...more,
        mode,
      ],
      ...streams,
    },
    signal,
  );
  try {
    return layerReport(await unpacker.finish());
  } finally {
    giveBack(input);
  }
}

/** @throws ClusterError `internal` for what cannot be the report of a layer */
export function layerReport({ diffId, bytes, tarBytes, entries }: ReportLine): UnpackReport {
  const isDigest = typeof diffId === 'string' && /^sha256:[0-9a-f]{64}$/.test(diffId);
  if (isDigest && isCount(bytes) && isCount(tarBytes) && isCount(entries))
    return { diffId, bytes, tarBytes, entries };
  throw new ClusterError('internal', 'what a helper reports of a layer makes no sense');
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

/** Writes all of the file system that holds `path` to disk. */
export async function syncFileSystem(path: string): Promise<void> {
  sync ??= declare('int rt_syncfs(const char *path, _Out_ rt_error *err)');
  await callAsync(sync, path);
}
let sync: NativeFunction | undefined;
