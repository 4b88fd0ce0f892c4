import { ClusterError, isErrorKind } from '@tessera/shared/errors';
import {
  type Container,
  type ContainerState,
  ContainerTarget,
  type ContainerTarget_Verb,
} from '@tessera/shared/model';
import type { Store, View } from '../../store/view.js';
import type { ControlContext } from '../ports.js';
import { lookAt } from './look.js';
import { getContainer, noSuchContainer, whyUnreachable } from './lookup.js';
import { until } from './until.js';

/** What is asked of a container: a new generation of its target. */
export interface Wish {
  readonly verb: ContainerTarget_Verb;
  readonly stopSignal?: string;
  /** Undefined: the container's own. */
  readonly stopTimeoutMs?: number | undefined;
  /** Changes the object with the same write; may throw. */
  readonly change?: (container: Container, state: ContainerState | undefined) => Container;
}

const BUSY = Symbol('an earlier generation has not been answered yet');

/**
 * Asks for something and waits until the container's agent has answered that generation.
 *
 * What was asked before is answered first, so that nothing is overwritten unseen; only a stop does not wait, for it is
 * what ends a start that hangs.
 *
 * @returns the state that has the answer
 * @throws ClusterError what the agent answered (`notModified` where there was nothing to do), `notFound`,
 *   `unavailable` when its node cannot be reached
 */
export async function ask(
  store: Store,
  reference: string,
  wish: Wish,
  signal: AbortSignal,
): Promise<ContainerState> {
  const { id } = await lookAt(store, reference, (view) => getContainer(view, reference), signal);
  let generation: number | typeof BUSY = BUSY;
  while (generation === BUSY) {
    if (wish.verb !== 'stop') await until(store, signal, (view) => answerOf(view, id, targetOf(view, id)));
    generation = await store.update((tx) => {
      const container = tx.containers.get(id);
      if (!container) throw noSuchContainer(reference);
      const state = tx.containerStates.get(id);
      assertReachable(tx, id);
      const last = container.target?.generation ?? 0;
      if (wish.verb !== 'stop' && (state?.generation ?? 0) < last) return BUSY;
      const changed = wish.change?.(container, state) ?? container;
      tx.put('containers', {
        ...changed,
        target: ContainerTarget.fromPartial({
          verb: wish.verb,
          generation: last + 1,
          stopSignal: wish.stopSignal ?? '',
          stopTimeoutMs: wish.stopTimeoutMs ?? -1,
        }),
      });
      return last + 1;
    });
  }
  const asked = generation;
  return accepted(await until(store, signal, (view) => answerOf(view, id, asked)), asked);
}

const targetOf = (view: View, id: string): number => view.containers.get(id)?.target?.generation ?? 0;

/** The state in which a generation, or a later one, has been answered. */
function answerOf(view: View, id: string, generation: number): ContainerState | undefined {
  if (!view.containers.get(id)) throw noSuchContainer(id);
  const state = view.containerStates.get(id);
  if (state && state.generation >= generation) return state;
  assertReachable(view, id);
  return undefined;
}

function assertReachable(view: View, id: string): void {
  const nodeId = view.containerPlacements.get(id)?.nodeId;
  const error = nodeId ? whyUnreachable(view, nodeId) : undefined;
  if (error) throw error;
}

/**
 * Waits until the agent has answered a generation that changes nothing anybody could read, and throws its refusal: its
 * word is enough, where it comes to this manager, and need not have been stored.
 */
export async function heard(
  { store, reports }: Pick<ControlContext, 'store' | 'reports'>,
  id: string,
  generation: number,
  signal: AbortSignal,
): Promise<ContainerState> {
  const over = new AbortController();
  let unsubscribe = () => {};
  const report = new Promise<ContainerState>((resolve) => {
    unsubscribe =
      reports?.onReport(id, (state) => state.generation >= generation && resolve(state)) ?? unsubscribe;
  });
  const stored = until(store, AbortSignal.any([signal, over.signal]), (view) =>
    answerOf(view, id, generation),
  );
  try {
    return accepted(await Promise.race([report, stored]), generation);
  } finally {
    unsubscribe();
    // Whoever lost the race has nobody to hear of its failure.
    stored.catch(() => {});
    over.abort(new ClusterError('cancelled', 'the answer has come'));
  }
}

/** @throws ClusterError the agent's refusal */
function accepted(state: ContainerState, generation: number): ContainerState {
  const { generationErrorKind: kind, generationError: message } = state;
  if (state.generation !== generation || (kind === '' && message === '')) return state;
  throw new ClusterError(isErrorKind(kind) ? kind : 'internal', message);
}
