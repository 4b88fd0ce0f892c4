import type { Clock } from '@tessera/shared/env';
import type { LoopDefinition, Outcome } from '../../loops/leader-loop.js';
import type { Change, Store, View } from '../../store/view.js';
import { NodeJudge } from '../node-verdict.js';
import { planMove } from './move-plan.js';

/**
 * Gives up the nodes of containers that are to be rescheduled when theirs is lost, at the pace at which tasks are
 * replaced. Ids are containers.
 */
export function containerMoverLoop(store: Store, clock: Clock): LoopDefinition {
  return {
    name: 'container-mover',
    concurrency: 8,
    ids: (view) =>
      [...view.containers.all()].filter((one) => one.rescheduleOnNodeFailure).map(({ id }) => id),
    touched,
    reconcile: (id) => reconcile(store, clock, id),
  };
}

function* touched(changes: readonly Change[], view: View): Iterable<string> {
  for (const { kind, id } of changes) {
    switch (kind) {
      case 'containers':
      case 'containerPlacements':
        if (view.containers.get(id)?.rescheduleOnNodeFailure) yield id;
        break;
      case 'nodes':
      case 'nodeStatuses':
        for (const { containerId } of view.containerPlacements.byNode(id))
          if (view.containers.get(containerId)?.rescheduleOnNodeFailure) yield containerId;
        break;
    }
  }
}

async function reconcile(store: Store, clock: Clock, id: string): Promise<Outcome> {
  const judge = new NodeJudge(store.view(), clock.now());
  if (!planMove(store.view(), id, judge)) return { worked: false, wakeAtMs: judge.wakeAtMs };
  const worked = await store.update((tx) => {
    const placement = planMove(tx, id, new NodeJudge(tx, clock.now()));
    if (!placement) return false;
    tx.require('containers', id);
    if (tx.nodes.get(placement.nodeId)) tx.require('nodeStatuses', placement.nodeId);
    tx.put('containerPlacements', placement);
    return true;
  });
  return { worked };
}
