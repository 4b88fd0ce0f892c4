import type { Clock } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import type { Store, View } from '../../store/view.js';

export interface Patience {
  readonly clock: Clock;
  readonly ms: number;
  readonly message: string;
}

/**
 * Looks at every picture of the cluster from now on until there is something to see. Pictures are not skipped, so a look
 * that counts sees each revision.
 *
 * @param look undefined: not yet; what it throws ends the wait
 * @throws the signal's reason, or `deadlineExceeded` once the patience is over
 */
export function until<T>(
  store: Store,
  signal: AbortSignal,
  look: (view: View) => T | undefined,
  patience?: Patience,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error);
    let unsubscribe = () => {};
    let cancel = () => {};
    const end = (finish: () => void) => {
      unsubscribe();
      cancel();
      signal.removeEventListener('abort', onAbort);
      finish();
    };
    const onAbort = () => end(() => reject(signal.reason as Error));
    const see = (view: View): boolean => {
      try {
        const seen = look(view);
        if (seen === undefined) return false;
        end(() => resolve(seen));
      } catch (error) {
        end(() => reject(error as Error));
      }
      return true;
    };
    if (see(store.view())) return;
    unsubscribe = store.subscribe((_, view) => see(view));
    signal.addEventListener('abort', onAbort, { once: true });
    if (patience)
      cancel = patience.clock.after(patience.ms, () =>
        end(() => reject(new ClusterError('deadlineExceeded', patience.message))),
      );
  });
}
