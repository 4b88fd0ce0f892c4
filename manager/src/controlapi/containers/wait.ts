import type { ContainerState } from '@tessera/shared/model';
import type { Store, View } from '../../store/view.js';
import { lookAt } from './look.js';
import { getContainer, isRunning } from './lookup.js';
import { until } from './until.js';

export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

/** How a container ended. `error` is set where its start failed. */
export interface Ended {
  readonly exitCode: number;
  readonly error: string;
}

/**
 * Registers a wait: whatever happens to the container after this has resolved is seen.
 *
 * @returns the wait itself; `removed` gives the exit code that was last seen
 * @throws ClusterError `notFound`
 */
export async function registerWait(
  store: Store,
  reference: string,
  condition: WaitCondition,
  signal: AbortSignal,
): Promise<{ readonly ended: Promise<Ended> }> {
  const look = (view: View) => ({ view, id: getContainer(view, reference).id });
  // Where ends are counted, those before the request must be known.
  const { view, id } =
    condition === 'removed' ? await lookAt(store, reference, look, signal) : look(await store.read(signal));
  let last = view.containerStates.get(id);
  const exits = last?.exits ?? 0;
  const ended = until(store, signal, (now) => {
    const state = now.containerStates.get(id);
    last = state ?? last;
    if (!now.containers.get(id)) return endedBy(last);
    if (condition === 'removed') return undefined;
    const hasExited = (state?.exits ?? 0) > exits;
    const isIdle = condition === 'not-running' && !isRunning({ state: state?.state ?? 'created' });
    return hasExited || isIdle ? endedBy(state) : undefined;
  });
  // Whoever waits hears of a failure; until then nobody may.
  ended.catch(() => {});
  return { ended };
}

const endedBy = (state: ContainerState | undefined): Ended => ({
  exitCode: state?.exitCode ?? 0,
  error: state?.error ?? '',
});
