import { ClusterError } from '@tessera/shared/errors';
import type { BlobStore } from '../blob-store.js';
import type { Descriptor } from '../image-manifest.js';
import type { IncomingBlob } from '../incoming-blob.js';
import { type Progress, shortId, step, throttledBar } from './progress.js';
import { RegistryError } from './registry-errors.js';
import type { Repository } from './repository.js';
import { DamagedBlob, type RetryOptions, withRetries } from './retry.js';

/**
 * Brings a blob here: what breaks off goes on from where it stood, what turns out to be damaged begins anew. It is
 * hashed as it arrives and appears in the store only when its digest is right.
 *
 * @throws ClusterError `failedPrecondition` when the registry keeps sending something else
 */
export async function downloadLayer(
  repository: Repository,
  layer: Descriptor,
  blobs: BlobStore,
  progress: Progress,
  retry: RetryOptions,
  signal: AbortSignal,
): Promise<void> {
  const id = shortId(layer.digest);
  const incoming = await blobs.receive(layer.digest, layer.size);
  const show = throttledBar(progress, id, 'Downloading', layer.size);
  const waiting = (seconds: number) =>
    progress(step(id, `Retrying in ${seconds} second${seconds === 1 ? '' : 's'}`));
  try {
    let furthest = 0;
    await withRetries({ ...retry, waiting }, signal, (progressed) =>
      attempt(
        repository,
        layer,
        incoming,
        (offset) => {
          show(offset);
          if (offset <= furthest) return;
          furthest = offset;
          progressed();
        },
        signal,
      ),
    );
    progress(step(id, 'Verifying Checksum'));
    progress(step(id, 'Download complete'));
  } catch (error) {
    if (error instanceof DamagedBlob)
      throw new ClusterError(
        'failedPrecondition',
        `filesystem layer verification failed for digest ${layer.digest}: ${error.message}`,
      );
    throw error;
  } finally {
    await incoming.discard();
  }
}

async function attempt(
  repository: Repository,
  layer: Descriptor,
  incoming: IncomingBlob,
  arrived: (offset: number) => void,
  signal: AbortSignal,
): Promise<void> {
  // Everything may have come by the time the connection broke.
  if (incoming.offset < layer.size || layer.size === 0) {
    const part = await repository
      .blob(layer.digest, incoming.offset, signal)
      .catch(async (error: unknown) => {
        if (!(error instanceof RegistryError) || error.status !== 416) throw error;
        await incoming.restart();
        throw new DamagedBlob(error.message, { cause: error });
      });
    // What the registry sends again we have already.
    let skip = incoming.offset - part.offset;
    for await (const piece of part.pieces) {
      const fresh = skip > 0 ? piece.subarray(skip) : piece;
      skip = Math.max(0, skip - piece.length);
      if (fresh.length === 0) continue;
      await damage(() => incoming.append(fresh));
      arrived(incoming.offset);
    }
  }
  await damage(() => incoming.commit());
}

/** A blob that is too long or has another digest: perhaps a proxy's fault, and gone with the next attempt. */
async function damage(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ClusterError) throw new DamagedBlob(error.message, { cause: error });
    throw error;
  }
}
