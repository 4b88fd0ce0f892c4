import { TaskSpec } from '@tessera/shared/model';
import { aTaskSpec, settle } from '@tessera/shared/testing';
import { describe, expect, test } from 'vitest';
import type { MemoryStore } from '../store/testing/index.js';
import { openMemoryStore } from '../store/testing/index.js';
import { AGENT_RESTART_MS } from './dispatcher.js';
import { aCluster, GRACE_MS, putTask } from './testing/index.js';

const nodeState = (store: MemoryStore, id: string) => store.view().nodeStatuses.get(id)?.state;

describe('sessions', () => {
  test('a node that registers is ready, welcomed, and sent everything it has', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    await putTask(cluster.store, 'task-1', 'node-1');

    const agent = cluster.connect('node-1');
    await settle();

    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
    expect(cluster.store.view().sessions.get('node-1')?.managerId).toBe('manager-1');
    expect(agent.received.map(({ body }) => body?.$case)).toEqual(['welcome', 'managers', 'assignments']);
    expect(agent.keys()).toEqual(['node/node-1', 'task/task-1']);
    const item = agent.items.get('task/task-1')?.item;
    expect(item?.$case === 'task' && item.value.spec).toEqual(TaskSpec.fromPartial(aTaskSpec()));
  });

  test('a node silent for the grace time is disconnected and its session is gone', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1', 'node-2');
    const silent = cluster.connect('node-1');
    const alive = cluster.connect('node-2');

    await cluster.pass(GRACE_MS - 500, alive);
    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
    await cluster.pass(1_000, alive);

    expect(nodeState(cluster.store, 'node-1')).toBe('disconnected');
    expect(cluster.store.view().sessions.get('node-1')).toBeUndefined();
    expect(silent.closedWith?.kind).toBe('unavailable');
    expect(nodeState(cluster.store, 'node-2')).toBe('ready');
  });

  test('an agent that closes its connection is waited for longer than a silent host', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const agent = cluster.connect('node-1');
    await cluster.pass(2_000, agent);

    agent.handle.closed();
    await cluster.pass(GRACE_MS - 500);
    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
    await cluster.pass(AGENT_RESTART_MS - GRACE_MS);
    expect(nodeState(cluster.store, 'node-1')).toBe('restarting');
    await cluster.pass(1_000);

    expect(nodeState(cluster.store, 'node-1')).toBe('disconnected');
  });

  test('an agent killed and back within the grace time goes on as if nothing had happened', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    cluster.connect('node-1').handle.closed();
    await cluster.pass(2_000);

    const again = cluster.connect('node-1');
    await cluster.pass(2 * GRACE_MS, again);

    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
    expect(again.isClosed).toBe(false);
  });

  test('a newer session of a node ends the earlier one, whose late end changes nothing', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const first = cluster.connect('node-1');
    await settle();
    const second = cluster.connect('node-1');
    await settle();

    first.handle.closed();
    first.beat();
    await cluster.pass(2 * GRACE_MS, second);

    expect(first.closedWith?.kind).toBe('aborted');
    const { sessionId } = cluster.store.view().sessions.get('node-1')!;
    expect(second.got('welcome')[0]?.sessionId).toBe(sessionId);
    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
  });

  test('a node that says goodbye is restarting for as long as it asked, at most a minute', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const agent = cluster.connect('node-1');
    await settle();

    agent.say({ $case: 'goodbye', value: { backWithinMs: 3_600_000, reason: 'upgrade' } });
    agent.handle.closed();
    await cluster.pass(59_000);
    expect(nodeState(cluster.store, 'node-1')).toBe('restarting');
    await cluster.pass(2_000);

    expect(nodeState(cluster.store, 'node-1')).toBe('disconnected');
  });

  test('a node that leaves for good is given up at once, with its own reason', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const agent = cluster.connect('node-1');
    await settle();

    agent.say({ $case: 'goodbye', value: { backWithinMs: 0, reason: 'the node leaves the cluster' } });
    agent.handle.closed();
    await settle();

    expect(cluster.store.view().nodeStatuses.get('node-1')).toMatchObject({
      state: 'disconnected',
      message: 'the node leaves the cluster',
    });
    expect(cluster.store.view().sessions.size).toBe(0);
  });

  test('a node that waits for a slow store to be welcomed is not silent', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    cluster.store.kv.freeze();
    const agent = cluster.connect('node-1');

    await cluster.pass(2 * GRACE_MS);
    cluster.store.kv.thaw();
    await cluster.pass(GRACE_MS - 1_000);

    expect(agent.isClosed).toBe(false);
    expect(agent.got('welcome')).toHaveLength(1);
    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
  });

  test('silence while the store is unsure does not count', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    cluster.connect('node-1');
    await cluster.pass(500);

    cluster.halted = true;
    await cluster.pass(10 * GRACE_MS);
    cluster.halted = false;
    await cluster.pass(2_000);
    expect(nodeState(cluster.store, 'node-1')).toBe('ready');
    await cluster.pass(1_500);

    expect(nodeState(cluster.store, 'node-1')).toBe('disconnected');
  });

  test('a session whose key went with a lost lease is written again', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    cluster.connect('node-1');
    await settle();
    const { sessionId } = cluster.store.view().sessions.get('node-1')!;

    await cluster.store.update((tx) => tx.delete('sessions', 'node-1'));
    await settle();

    expect(cluster.store.view().sessions.get('node-1')?.sessionId).toBe(sessionId);
  });

  test('an agent that went to another manager is told so here', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const agent = cluster.connect('node-1');
    await settle();

    await cluster.store.update((tx) =>
      tx.put('sessions', {
        nodeId: 'node-1',
        managerId: 'manager-2',
        sessionId: 'other',
        managerAddr: 'b:1',
      }),
    );
    await settle();

    expect(agent.got('dismiss')).toMatchObject([{ removed: false }]);
    expect(agent.isClosed).toBe(true);
    expect(cluster.store.view().sessions.get('node-1')?.sessionId).toBe('other');
  });

  test('a removed node is dismissed for good and leaves no status behind', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const agent = cluster.connect('node-1');
    await settle();

    await cluster.store.update((tx) => tx.delete('nodes', 'node-1'));
    await settle();

    expect(agent.got('dismiss')).toMatchObject([{ removed: true }]);
    expect(cluster.store.view().sessions.size).toBe(0);
    expect(cluster.store.view().nodeStatuses.size).toBe(0);
  });

  test('an agent that has seen a later incarnation is not served', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');

    expect(() => cluster.connect('node-1', { incarnation: 2 })).toThrow(/incarnation 1.*has seen 2/);
  });

  test('facts that change during a session reach the store', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    const agent = cluster.connect('node-1');
    await settle();

    agent.say({ $case: 'report', value: { description: undefined, imageDigests: ['sha256:a'] } });
    await settle();

    expect(cluster.store.view().nodeStatuses.get('node-1')).toMatchObject({
      imageDigests: ['sha256:a'],
      description: { hostname: 'node-1' },
    });
  });
});

describe('statuses', () => {
  test('a status is stored with the node it came from and acknowledged by its batch', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    await putTask(cluster.store, 'task-1', 'node-1');
    const agent = cluster.connect('node-1');
    await settle();

    const number = agent.report({ taskId: 'task-1', state: 'running', nodeId: 'node-9' });
    await settle();

    expect(cluster.store.view().taskStatuses.get('task-1')).toMatchObject({
      state: 'running',
      nodeId: 'node-1',
    });
    expect(agent.acked).toEqual([number]);
  });

  test('late and doubled statuses are acknowledged and change nothing', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    await putTask(cluster.store, 'task-1', 'node-1');
    const agent = cluster.connect('node-1');
    await settle();

    agent.report({ taskId: 'task-1', state: 'running' });
    agent.report({ taskId: 'task-1', state: 'preparing' });
    agent.report(
      { taskId: 'task-1', state: 'failed', error: 'exit 1' },
      { taskId: 'task-1', state: 'running' },
    );
    agent.report({ taskId: 'task-1', state: 'rejected' });
    await settle();

    expect(cluster.store.view().taskStatuses.get('task-1')).toMatchObject({
      state: 'failed',
      error: 'exit 1',
    });
    expect(agent.acked).toEqual([1, 2, 3, 4]);
  });

  test('a node cannot speak of a task that is not its own, nor in states that are the manager’s', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1', 'node-2');
    await putTask(cluster.store, 'task-1', 'node-1');
    const owner = cluster.connect('node-1');
    const other = cluster.connect('node-2');
    await settle();

    other.report({ taskId: 'task-1', state: 'failed' }, { taskId: 'no such task', state: 'running' });
    owner.report({ taskId: 'task-1', state: 'orphaned' });
    await settle();

    expect(cluster.store.view().taskStatuses.size).toBe(0);
    expect(other.acked).toEqual([1]);
  });

  test('statuses wait for the session’s key, and are stored once it is there again', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    await putTask(cluster.store, 'task-1', 'node-1');
    const agent = cluster.connect('node-1');
    await settle();
    cluster.store.kv.faults.fate = () => 'refuse';

    agent.report({ taskId: 'task-1', state: 'running' });
    await cluster.pass(2_000, agent);
    expect(agent.acked).toEqual([]);
    cluster.store.kv.faults.fate = () => 'answer';
    await cluster.pass(5_000, agent);

    expect(agent.acked).toEqual([1]);
    expect(cluster.store.view().taskStatuses.get('task-1')?.state).toBe('running');
  });

  test('a manager that has not heard yet that it lost the node cannot write about it', async () => {
    const cluster = await aCluster();
    await cluster.addNodes('node-1');
    await putTask(cluster.store, 'task-1', 'node-1');
    const agent = cluster.connect('node-1');
    await settle();
    const other = await openMemoryStore(cluster.clock, { beside: cluster.store, managerId: 'manager-2' });
    cluster.store.kv.faults.watchDelayMs = () => 1_000;

    await other.update((tx) =>
      tx.put('sessions', { nodeId: 'node-1', managerId: 'manager-2', sessionId: 'other', managerAddr: '' }),
    );
    expect(cluster.store.view().sessions.get('node-1')?.managerId).toBe('manager-1');
    agent.report({ taskId: 'task-1', state: 'running' });
    await cluster.pass(3_000, agent);

    expect(other.view().taskStatuses.size).toBe(0);
    expect(agent.acked).toEqual([]);
  });

  test('300 statuses of three nodes take few transactions, none above the bound', async () => {
    const cluster = await aCluster();
    const nodes = ['node-1', 'node-2', 'node-3'];
    await cluster.addNodes(...nodes);
    for (let number = 0; number < 300; number++)
      await putTask(cluster.store, `task-${number}`, nodes[number % 3]!);
    const agents = nodes.map((node) => cluster.connect(node));
    await settle();
    let count = 0;
    cluster.store.kv.faults.fate = (call) => {
      if (call === 'txn') count++;
      return 'answer';
    };

    agents.forEach((agent, index) => {
      for (let number = index; number < 300; number += 3)
        agent.report({ taskId: `task-${number}`, state: 'running' });
    });
    await cluster.pass(1_000, ...agents);

    expect(cluster.store.view().taskStatuses.size).toBe(300);
    expect(agents.map(({ acked }) => acked.length)).toEqual([100, 100, 100]);
    expect(count).toBeLessThanOrEqual(6);
  });
});
