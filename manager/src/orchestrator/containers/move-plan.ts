import type { ContainerPlacement } from '@tessera/shared/model';
import type { View } from '../../store/view.js';
import type { NodeJudge } from '../node-verdict.js';

/**
 * What a container whose user wants it rescheduled has to be told of its node: that it is given up, so that the
 * scheduler looks for another; or that it is back before one was found, so that nothing moves.
 *
 * @returns the placement to write; undefined when it is right as it is
 */
export function planMove(view: View, containerId: string, judge: NodeJudge): ContainerPlacement | undefined {
  const container = view.containers.get(containerId);
  const placement = view.containerPlacements.get(containerId);
  if (!container || !placement?.nodeId) return undefined;
  const mayMove = container.rescheduleOnNodeFailure && !container.removing;
  const presence = mayMove ? judge.presenceOf(placement.nodeId) : 'usable';
  const moving = presence === 'down' || presence === 'gone' || (presence === 'silent' && placement.moving);
  if (moving === placement.moving) return undefined;
  return { ...placement, moving, pendingReason: '' };
}
