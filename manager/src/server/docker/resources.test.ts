import { once } from 'node:events';
import { request } from 'node:http';
import { aTask, aTaskStatus } from '@tessera/shared/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ApiFixture, type Json } from '../testing/api-fixture.js';

let api: ApiFixture;
beforeEach(async () => {
  api = await ApiFixture.start();
});
afterEach(() => api[Symbol.asyncDispose]());

const filtered = (path: string, filters: object) =>
  api.call('GET', `${path}?filters=${encodeURIComponent(JSON.stringify(filters))}`);

describe('networks', () => {
  const create = (body: object) => api.call('POST', '/networks/create', body);

  test('are created as overlays, found by name, and removed', async () => {
    const { status, body } = await create({
      Name: 'shop',
      Driver: 'overlay',
      IPAM: { Config: [{ Subnet: '10.9.0.0/16' }] },
    });
    const found = await api.call('GET', '/networks/shop?scope=swarm');
    const verbose = await api.call('GET', '/networks/shop?verbose=true');
    const removed = await api.call('DELETE', '/networks/shop');

    expect(status).toBe(201);
    expect(found.body).toMatchObject({
      Id: body.Id,
      Driver: 'overlay',
      Scope: 'swarm',
      IPAM: { Config: [{ Subnet: '10.9.0.0/16' }] },
    });
    expect(verbose).toMatchObject({ status: 400, body: { message: expect.stringContaining('--verbose') } });
    expect(removed.status).toBe(204);
    expect((await filtered('/networks', { type: ['custom'] })).body).toEqual([]);
  });

  test('cannot be removed while a service uses them', async () => {
    await api.addImage();
    await create({ Name: 'shop' });
    await api.call('POST', '/services/create', {
      Name: 'web',
      TaskTemplate: { ContainerSpec: { Image: 'busybox' }, Networks: [{ Target: 'shop' }] },
    });

    const used = await api.call('DELETE', '/networks/shop');
    const pruned = await api.call('POST', '/networks/prune');
    await api.call('DELETE', '/services/web');

    expect(used).toMatchObject({
      status: 403,
      body: { message: expect.stringContaining('in use by service web') },
    });
    expect(pruned.body).toEqual({ NetworksDeleted: [] });
    expect((await api.call('POST', '/networks/prune')).body).toEqual({ NetworksDeleted: ['shop'] });
  });

  test.each([
    ['a name twice', { Name: 'first' }, 409, 'already exists'],
    ["a host's own name", { Name: 'bridge' }, 403, 'predefined bridge network'],
    ['another driver', { Name: 'a', Driver: 'macvlan' }, 400, 'use --driver overlay'],
    [
      'an overlapping subnet',
      { Name: 'a', IPAM: { Config: [{ Subnet: '10.77.1.0/24' }] } },
      403,
      'Pool overlaps with other one',
    ],
    [
      "a host's address",
      { Name: 'a', IPAM: { Config: [{ Subnet: '10.0.0.0/29' }] } },
      403,
      'Pool overlaps with other one on this address space: 10.0.0.0/29 holds 10.0.0.1, the address of node host1',
    ],
    [
      'loopback addresses',
      { Name: 'a', IPAM: { Config: [{ Subnet: '127.0.0.0/24' }] } },
      400,
      '127.0.0.0/24 has loopback addresses',
    ],
    [
      'multicast addresses',
      { Name: 'a', IPAM: { Config: [{ Subnet: '239.1.0.0/24' }] } },
      400,
      'choose a private subnet',
    ],
    ['what is no subnet', { Name: 'a', IPAM: { Config: [{ Subnet: '10.1.0.0' }] } }, 400, 'subnet'],
    [
      'a gateway outside',
      { Name: 'a', IPAM: { Config: [{ Subnet: '10.1.0.0/24', Gateway: '10.2.0.1' }] } },
      400,
      'lies outside',
    ],
    ['encryption', { Name: 'a', Options: { encrypted: '' } }, 400, 'Options.encrypted'],
    ['unknown options', { Name: 'a', Options: { foo: 'bar' } }, 400, 'Options.foo'],
    ['IPv6', { Name: 'a', EnableIPv6: true }, 400, 'EnableIPv6'],
    ['an ingress network', { Name: 'a', Ingress: true }, 400, 'Ingress'],
    ['another address manager', { Name: 'a', IPAM: { Driver: 'dhcp' } }, 400, 'IPAM.Driver'],
    [
      'reserved addresses',
      { Name: 'a', IPAM: { Config: [{ Subnet: '10.1.0.0/24', AuxiliaryAddresses: { x: '10.1.0.9' } }] } },
      400,
      'AuxiliaryAddresses',
    ],
  ])('refuse %s', async (_, body, status, message) => {
    await create({ Name: 'first', IPAM: { Config: [{ Subnet: '10.77.0.0/16' }] } });

    const answer = await create(body);

    expect(answer.status).toBe(status);
    expect(answer.body.message).toContain(message);
  });

  test('show the containers of running tasks, wherever they run', async () => {
    const { body } = await create({ Name: 'shop' });
    await api.store.update((tx) => {
      tx.put('specs', { serviceId: 'service-1', version: 1, task: undefined });
      tx.put(
        'tasks',
        aTask({
          networks: [{ networkId: body.Id, addr: '10.0.1.5/24', mac: '02:42:0a:00:01:05', aliases: [] }],
        }),
      );
      tx.put(
        'taskStatuses',
        aTaskStatus({
          container: {
            containerId: 'c1',
            pid: 1,
            exitCode: 0,
            oomKilled: false,
            startedAtMs: 0,
            finishedAtMs: 0,
          },
        }),
      );
    });

    const found = await api.call('GET', '/networks/shop');

    expect(found.body.Containers.c1).toMatchObject({ Name: 'web.1.task-1', IPv4Address: '10.0.1.5/24' });
  });
});

describe("networks of a host's own", () => {
  const bridgeOf = (nodeId: string, bridgeAddr: string) =>
    api.store.update((tx) => {
      const status = tx.nodeStatuses.get(nodeId)!;
      tx.put('nodeStatuses', { ...status, description: { ...status.description!, bridgeAddr } });
    });

  test('are listed as Docker predefines them, beside those of the cluster', async () => {
    await api.call('POST', '/networks/create', { Name: 'shop' });

    const all = await api.call('GET', '/networks');
    const builtin = await filtered('/networks', { type: ['builtin'] });
    const unused = await filtered('/networks', { dangling: ['true'] });

    expect(all.body.map(({ Name, Driver, Scope }: Json) => [Name, Driver, Scope])).toEqual([
      ['bridge', 'bridge', 'local'],
      ['host', 'host', 'local'],
      ['none', 'null', 'local'],
      ['shop', 'overlay', 'swarm'],
    ]);
    expect(builtin.body).toHaveLength(3);
    expect(unused.body.map(({ Name }: Json) => Name)).toEqual(['shop']);
  });

  test("show every subnet of the nodes' bridges once, that of the host asked first", async () => {
    await bridgeOf('node-3', '172.18.0.1/20');
    await bridgeOf('node-1', '172.19.0.1/20');
    await bridgeOf('node-2', '172.18.0.1/20');

    const { body } = await api.call('GET', '/networks/bridge');

    expect(body.IPAM.Config).toEqual([
      { Subnet: '172.19.0.0/20', Gateway: '172.19.0.1' },
      { Subnet: '172.18.0.0/20', Gateway: '172.18.0.1' },
    ]);
    expect(body.Options['com.docker.network.bridge.name']).toBe('tessera0');
    expect((await api.call('GET', `/networks/${body.Id.slice(0, 12)}`)).body.Name).toBe('bridge');
    expect((await api.call('GET', '/networks/bridge?scope=swarm')).status).toBe(404);
  });

  test('are not removed', async () => {
    expect(await api.call('DELETE', '/networks/host')).toMatchObject({
      status: 403,
      body: { message: 'host is a pre-defined network and cannot be removed' },
    });
  });
});

describe('nodes', () => {
  test('are listed with their state, role and leader', async () => {
    const { body } = await api.call('GET', '/nodes');

    expect(body).toHaveLength(3);
    expect(body[0]).toMatchObject({
      ID: 'node-1',
      Spec: { Role: 'manager', Availability: 'active' },
      Status: { State: 'ready', Addr: '10.0.0.1' },
      ManagerStatus: { Leader: true, Reachability: 'reachable', Addr: '10.0.0.1:2377' },
    });
    expect(body[1].ManagerStatus).toBeUndefined();
    expect((await filtered('/nodes', { role: ['worker'] })).body).toHaveLength(2);
  });

  test('take labels and availability', async () => {
    const { body } = await api.call('GET', '/nodes/host2');
    const spec = { ...body.Spec, Availability: 'drain', Labels: { disk: 'ssd' } };

    const answer = await api.call('POST', `/nodes/host2/update?version=${body.Version.Index}`, spec);
    const stale = await api.call('POST', `/nodes/host2/update?version=${body.Version.Index}`, body.Spec);

    expect(answer.status).toBe(200);
    expect(api.store.view().nodes.get('node-2')).toMatchObject({
      availability: 'drain',
      labels: { disk: 'ssd' },
    });
    expect(stale).toMatchObject({ status: 500, body: { message: 'update out of sequence' } });
  });

  test('keep the name of their host, dots and all, when something else changes', async () => {
    await api.store.update((tx) => tx.put('nodes', { ...tx.nodes.get('node-3')!, name: 'a.example' }));
    const { body } = await api.call('GET', '/nodes/a.example');

    const kept = await api.call('POST', `/nodes/node-3/update?version=${body.Version.Index}`, body.Spec);
    const odd = await api.call('POST', `/nodes/node-3/update?version=${body.Version.Index}`, {
      ...body.Spec,
      Name: 'a b',
    });

    expect(kept.status).toBe(200);
    expect(odd).toMatchObject({ status: 400, body: { message: expect.stringContaining("'a b'") } });
  });

  test('are removed when they are down, or by force', async () => {
    const refused = await api.call('DELETE', '/nodes/host2');
    const manager = await api.call('DELETE', '/nodes/host1?force=1');
    const forced = await api.call('DELETE', '/nodes/host2?force=1');

    expect(refused).toMatchObject({ status: 400, body: { message: expect.stringContaining('is not down') } });
    expect(manager).toMatchObject({ status: 400, body: { message: expect.stringContaining('manager') } });
    expect(forced.status).toBe(200);
    expect(api.store.view().nodes.size).toBe(2);
    expect(api.store.view().nodeStatuses.get('node-2')).toBeUndefined();
  });

  test('answer to self, which is the node of this API', async () => {
    expect((await api.call('GET', '/nodes/self')).body.ID).toBe('node-1');
  });
});

describe('tasks', () => {
  beforeEach(async () => {
    await api.store.update((tx) => {
      tx.put('specs', { serviceId: 'service-1', version: 1, task: aTask().spec });
      tx.put('tasks', aTask({ nodeId: 'node-2', state: 'assigned' }));
      tx.put('taskStatuses', aTaskStatus({ atMs: 1_700_000_000_000, error: 'oh', state: 'failed' }));
      tx.put('tasks', aTask({ id: 'task-2', slot: 2, state: 'pending', pendingReason: 'no suitable node' }));
    });
  });

  test('show where their agent saw them, and why they wait', async () => {
    const { body } = await api.call('GET', '/tasks');

    expect(body[0]).toMatchObject({
      ID: 'task-1',
      Slot: 1,
      NodeID: 'node-2',
      DesiredState: 'running',
      Status: { State: 'failed', Err: 'oh', Timestamp: '2023-11-14T22:13:20.000Z' },
    });
    expect(body[1].Status).toMatchObject({ State: 'pending', Err: 'no suitable node' });
    expect(body[1].NodeID).toBeUndefined();
  });

  test('are filtered by service, node, slot name and desired state', async () => {
    const ids = async (filters: object) =>
      (await filtered('/tasks', filters)).body.map((task: Json) => task.ID);

    expect(await ids({ service: ['web'] })).toEqual(['task-1', 'task-2']);
    expect(await ids({ service: ['other'] })).toEqual([]);
    expect(await ids({ node: ['host2'] })).toEqual(['task-1']);
    expect(await ids({ name: ['web.2'] })).toEqual(['task-2']);
    expect(await ids({ 'desired-state': ['shutdown'] })).toEqual([]);
  });

  test('are found by the name of their place, whoever was there before', async () => {
    const inspect = (name: string) => api.call('GET', `/tasks/${name}`);
    await api.store.update((tx) => tx.put('tasks', aTask({ id: 'task-0', desiredState: 'shutdown' })));

    expect((await inspect('web.1')).body.ID).toBe('task-1');
    expect((await inspect('web.2')).body.ID).toBe('task-2');
    expect((await inspect('web.3')).status).toBe(404);

    // Two at once are those of a start-first update.
    await api.store.update((tx) => tx.put('tasks', aTask({ id: 'task-3', slot: 1 })));
    const ambiguous = await inspect('web.1');
    expect(ambiguous.status).toBe(400);
    expect(ambiguous.body.message).toBe('task web.1 is ambiguous: give the id of one of task-1, task-3');
  });
});

describe('the cluster', () => {
  test('shows its join tokens and rotates them one at a time', async () => {
    const { body: before } = await api.call('GET', '/swarm');
    const answer = await api.call(
      'POST',
      `/swarm/update?version=${before.Version.Index}&rotateWorkerToken=true`,
      before.Spec,
    );
    const { body: after } = await api.call('GET', '/swarm');

    expect(answer.text).toBe('');
    expect(before.JoinTokens).toEqual({ Worker: 'TSWT-1-worker', Manager: 'TSWT-1-manager' });
    expect(after.JoinTokens.Worker).not.toBe(before.JoinTokens.Worker);
    expect(after.JoinTokens.Manager).toBe(before.JoinTokens.Manager);
  });

  test('is left through the tsd of this host, and by force alone', async () => {
    const refused = await api.call('POST', '/swarm/leave');
    const forced = await api.call('POST', '/swarm/leave?force=1');

    expect(refused.status).toBe(503);
    expect(forced.status).toBe(200);
    expect(api.left).toEqual([true]);
  });

  test.each(['init', 'join'])('cannot be entered a second time by %s', async (verb) => {
    const answer = await api.call('POST', `/swarm/${verb}`, {});

    expect(answer).toMatchObject({
      status: 503,
      body: { message: expect.stringContaining('already part of') },
    });
  });

  test('is joined at the address of this manager, before its own agent has registered', async () => {
    await api.store.update((tx) => tx.delete('nodeStatuses', 'node-1'));

    const { body } = await api.call('GET', '/info');

    expect(body.Swarm.RemoteManagers).toEqual([{ NodeID: 'node-1', Addr: '10.0.0.1:2377' }]);
  });

  test('has the processors and the memory of all that are ready', async () => {
    const before = (await api.call('GET', '/info')).body;
    await api.store.update((tx) =>
      tx.put('nodeStatuses', { ...tx.nodeStatuses.get('node-3')!, state: 'down' }),
    );

    const { body } = await api.call('GET', '/info');

    expect(before.NCPU).toBeGreaterThan(0);
    expect(body.NCPU).toBe((before.NCPU / 3) * 2);
    expect(body.MemTotal).toBe((before.MemTotal / 3) * 2);
  });

  test('counts what its manager has open, and who watches its events', async () => {
    const before = (await api.call('GET', '/info')).body;
    const watching = request({ socketPath: api.socketPath, path: '/events' }).on('error', () => undefined);
    const head = once(watching, 'response');
    watching.end();
    await head;
    await vi.waitFor(async () => {
      const { body } = await api.call('GET', '/info');
      expect(body.NEventsListener).toBe(before.NEventsListener + 1);
      expect(body.NFd).toBeGreaterThan(before.NFd);
    });

    watching.destroy();
    await vi.waitFor(async () => {
      expect((await api.call('GET', '/info')).body).toMatchObject({ NEventsListener: 0, CDISpecDirs: [] });
    });
  });

  test('sets SELinux labels when every node that is ready does', async () => {
    const options = async (): Promise<string[]> => (await api.call('GET', '/info')).body.SecurityOptions;
    const describe = (id: string, state: 'ready' | 'down', selinux: boolean) =>
      api.store.update((tx) => {
        const status = tx.nodeStatuses.get(id)!;
        tx.put('nodeStatuses', { ...status, state, description: { ...status.description!, selinux } });
      });
    await describe('node-1', 'ready', true);
    await describe('node-2', 'ready', true);

    expect(await options()).not.toContain('name=selinux');
    await describe('node-3', 'down', false);
    expect(await options()).toContain('name=selinux');
    await describe('node-3', 'ready', true);
    expect(await options()).toContain('name=selinux');
  });

  test('is never shown with its tokens in info', async () => {
    const answer = await api.call('GET', '/info');

    expect(answer.body.Swarm).toMatchObject({
      NodeID: 'node-1',
      ControlAvailable: true,
      Nodes: 3,
      Managers: 1,
    });
    expect(answer.text).not.toContain('TSWT');
  });

  test('is pinged with what clients negotiate by', async () => {
    const answer = await api.call('HEAD', '/_ping');

    expect(answer).toMatchObject({ status: 200, text: '' });
    expect(answer.headers).toMatchObject({
      'api-version': '1.50',
      ostype: 'linux',
      swarm: 'active/manager',
    });
  });

  test('gives its own words for what Docker has none', async () => {
    const cluster = await api.call('GET', '/tessera/v1/cluster');
    const issued = await api.call('POST', '/tessera/v1/client-certificates', { name: 'alice', validDays: 7 });
    const refused = await api.call('POST', '/tessera/v1/client-certificates', { name: 'a', role: 'admin' });

    expect(cluster.body).toMatchObject({ id: 'cluster-1', incarnation: 1 });
    expect(issued).toMatchObject({ status: 201, body: { certPem: 'alice' } });
    expect(refused.body.message).toContain('role');
  });

  test("answers what is not there in Docker's form", async () => {
    expect(await api.call('GET', '/nothing')).toMatchObject({
      status: 404,
      body: { message: 'page not found' },
    });
    expect(await api.call('GET', '/secrets')).toMatchObject({
      status: 501,
      body: { message: 'secrets are not supported yet' },
    });
  });
});
