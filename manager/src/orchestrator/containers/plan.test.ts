import type { Container, ContainerState, NodeStatus } from '@tessera/shared/model';
import {
  aContainer,
  aContainerPlacement,
  aContainerState,
  aNode,
  aNodeStatus,
  FakeClock,
} from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { openMemoryStore } from '../../store/testing/index.js';
import { planContainer, UNPLACED_MAX_MS } from './plan.js';

interface Parts {
  readonly container?: Partial<Container>;
  readonly state?: Partial<ContainerState>;
  readonly nodeId?: string;
  readonly reason?: string;
  readonly node?: NodeStatus['state'];
}

async function plan(parts: Parts, laterMs = 0) {
  const clock = new FakeClock();
  const store = await openMemoryStore(clock);
  await store.update((tx) => {
    tx.put('nodes', aNode());
    tx.put('nodeStatuses', aNodeStatus({ state: parts.node ?? 'ready' }));
    if (parts.container) tx.put('containers', aContainer({ id: 'c1', ...parts.container }));
    if (parts.nodeId !== undefined || parts.reason !== undefined)
      tx.put(
        'containerPlacements',
        aContainerPlacement({
          containerId: 'c1',
          nodeId: parts.nodeId ?? '',
          pendingReason: parts.reason ?? '',
        }),
      );
    if (parts.state) tx.put('containerStates', aContainerState({ containerId: 'c1', ...parts.state }));
  });
  return planContainer(store.view(), 'c1', clock.now() + laterMs).kind;
}

const removing = { removing: true };
const selfRemoving = { host: { autoRemove: true } as never };

test('a container is deleted when its agent has removed it', async () => {
  expect(await plan({ container: removing, nodeId: 'node-1', state: { state: 'exited' } })).toBe('keep');
  expect(await plan({ container: removing, nodeId: 'node-1', state: { state: 'removed' } })).toBe('delete');
});

test('one that was never placed, or whose node is gone, is deleted as soon as it is to go', async () => {
  expect(await plan({ container: {} })).toBe('keep');
  expect(await plan({ container: removing })).toBe('delete');
  expect(await plan({ container: removing, nodeId: 'gone' })).toBe('delete');
});

test('one whose node is down is deleted only if its user insists', async () => {
  const down = { nodeId: 'node-1', node: 'down' as const };

  expect(await plan({ container: removing, ...down })).toBe('keep');
  expect(await plan({ container: { ...removing, removeForce: true }, ...down })).toBe('delete');
  expect(await plan({ container: { ...removing, removeForce: true }, nodeId: 'node-1' })).toBe('keep');
});

test('one that removes itself is deleted when its agent has done so', async () => {
  expect(await plan({ container: selfRemoving, nodeId: 'node-1', state: { state: 'exited' } })).toBe('keep');
  expect(await plan({ container: selfRemoving, nodeId: 'node-1', state: { state: 'removed' } })).toBe(
    'delete',
  );
});

test('one that found no node is kept for whoever asked for it, and deleted when nobody does', async () => {
  expect(await plan({ container: {}, reason: 'no suitable node' })).toBe('later');
  expect(await plan({ container: {}, reason: 'no suitable node' }, UNPLACED_MAX_MS)).toBe('delete');
});

test('what remains of a deleted container is deleted too', async () => {
  expect(await plan({ nodeId: 'node-1' })).toBe('delete');
  expect(await plan({ state: { state: 'exited' } })).toBe('delete');
  expect(await plan({})).toBe('keep');
});
