import type { Change } from '@tessera/manager/store';

/** One line per change of what a seed is usually about; undefined for the rest. */
export function traceOf(change: Change): string | undefined {
  switch (change.kind) {
    case 'tasks': {
      const { id, after } = change as Change<'tasks'>;
      if (!after) return `task ${id} is deleted`;
      const {
        serviceName,
        slot,
        nodeId,
        state,
        desiredState,
        epoch,
        specVersion,
        supersedes,
        pendingReason,
      } = after;
      return `task ${id} ${serviceName}.${slot}#${epoch?.number} v${specVersion} on ${nodeId || '-'}: ${state}, desired ${desiredState} ${supersedes.join(' ')} ${pendingReason}`;
    }
    case 'taskStatuses': {
      const { id, after } = change as Change<'taskStatuses'>;
      return after && `status ${id} on ${after.nodeId}: ${after.state}`;
    }
    case 'nodes': {
      const { id, after } = change as Change<'nodes'>;
      return `node ${id}: ${after?.availability}`;
    }
    case 'nodeStatuses': {
      const { id, before, after } = change as Change<'nodeStatuses'>;
      return before?.state === after?.state ? undefined : `node ${id} is ${after?.state}`;
    }
    case 'sessions': {
      const { id, after } = change as Change<'sessions'>;
      return `session of ${id}: ${after?.managerId ?? 'none'}`;
    }
    case 'services': {
      const { id, after } = change as Change<'services'>;
      return `service ${id} ${after?.spec?.name} v${after?.specVersion} × ${after?.spec?.replicas}${after?.removing ? ' removing' : ''}`;
    }
    case 'serviceStatuses': {
      const { id, after } = change as Change<'serviceStatuses'>;
      return `service status ${id}: ${after?.update?.state} ${after?.update?.message}`;
    }
    default:
      return undefined;
  }
}
