import { ClusterError } from '@tessera/shared/errors';
import type { Store, View } from '../../store/view.js';

const WHOLE_ID = /^[0-9a-f]{64}$/;

/**
 * Looks at the cluster for one container. A whole id means the same container in every picture, so the one at hand will
 * do, and etcd is asked for a newer one only where that refuses; what a name means must be read.
 *
 * @param look may be called twice. It must not rest on the container's state but to refuse
 * @throws what `look` throws of a picture no older than the call
 */
export async function lookAt<T>(
  store: Store,
  reference: string,
  look: (view: View) => T,
  signal?: AbortSignal,
): Promise<T> {
  if (WHOLE_ID.test(reference)) {
    try {
      return look(store.view());
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error;
    }
  }
  return look(await store.read(signal));
}
