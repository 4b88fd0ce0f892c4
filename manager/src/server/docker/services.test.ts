import { aService } from '@tessera/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, ApiFixture, type Json } from '../testing/api-fixture.js';

let api: ApiFixture;
beforeEach(async () => {
  api = await ApiFixture.start();
  await api.addImage();
});
afterEach(() => api[Symbol.asyncDispose]());

const spec = (name: string, more: object = {}, container: object = {}) => ({
  Name: name,
  TaskTemplate: { ContainerSpec: { Image: 'busybox', Args: ['httpd'], ...container } },
  Mode: { Replicated: { Replicas: 3 } },
  ...more,
});
const create = (body: object): Promise<Answer> => api.call('POST', '/v1.50/services/create', body);
const inspect = (name: string): Promise<Answer> => api.call('GET', `/services/${name}`);

const placed = (placement: object): Json => {
  const body = spec('a');
  return { ...body, TaskTemplate: { ...body.TaskTemplate, Placement: placement } };
};

async function update(name: string, change: (spec: Json) => void, query = ''): Promise<Answer> {
  const { body } = await inspect(name);
  change(body.Spec);
  return api.call('POST', `/services/${name}/update?version=${body.Version.Index}${query}`, body.Spec);
}

describe('creating a service', () => {
  test('resolves its image to the digest the cluster has under that name', async () => {
    const answer = await create(spec('web'));

    expect(answer).toMatchObject({ status: 201, body: { ID: expect.stringMatching(/^[a-z0-9]{25}$/) } });
    const { body } = await inspect('web');
    expect(body.ID).toBe(answer.body.ID);
    expect(body.Spec.TaskTemplate.ContainerSpec.Image).toBe(`busybox:latest@sha256:${'a'.repeat(64)}`);
    expect(api.store.view().specs.get(`${body.ID}/1`)?.task?.container?.args).toEqual(['httpd']);
  });

  test('takes a name once, until the service is removed', async () => {
    await create(spec('web'));

    const second = await create(spec('web'));
    await api.call('DELETE', '/services/web');
    const third = await create(spec('web'));

    expect(second.status).toBe(409);
    expect(second.body.message).toMatch(/^name conflicts with an existing object/);
    expect(third.status).toBe(201);
    expect((await inspect('web')).body.ID).toBe(third.body.ID);
  });

  test('by many at once under one name makes one of them', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => create(spec('web'))));

    const codes = answers.map(({ status }) => status).sort();
    expect(codes).toEqual([201, ...Array.from({ length: 11 }, () => 409)]);
    expect(api.store.view().services.size).toBe(1);
  });

  test('on a network that goes away meanwhile either has it or fails', async () => {
    await api.call('POST', '/networks/create', { Name: 'shop' });

    const [created, removed] = await Promise.all([
      create(spec('web', { Networks: [{ Target: 'shop' }] })),
      api.call('DELETE', '/networks/shop'),
    ]);

    expect([
      [201, 403],
      [404, 204],
    ]).toContainEqual([created.status, removed.status]);
  });

  test('gives a name to one that has none', async () => {
    const { body } = await create(spec(''));

    expect((await inspect(body.ID)).body.Spec.Name).toMatch(/^[a-z]+_[a-z]+$/);
  });

  test.each([
    ['an image that no node has', spec('a', {}, { Image: 'nginx' }), 404, 'No such image: nginx:latest'],
    ['a network that is not there', spec('a', { Networks: [{ Target: 'x' }] }), 404, 'network x not found'],
    ['a bad name', spec('a.b'), 400, 'must be valid as a DNS name component'],
    ['a long name', spec('a'.repeat(64)), 400, 'must be 63 characters or fewer'],
    [
      'a bad constraint',
      placed({ Constraints: ['node.role>worker'] }),
      400,
      "Placement.Constraints: 'node.role>worker': constraint expected one operator",
    ],
    [
      'a constraint that no node can meet',
      placed({ Constraints: ['node.role==worker', 'node.bar==3'] }),
      400,
      "Placement.Constraints: 'node.bar==3': no node has a 'node.bar'; the keys are node.id, node.hostname, node.role, node.platform.os, node.platform.arch, node.ip, node.labels.NAME, engine.labels.NAME",
    ],
    [
      'a constraint on a label without a name',
      placed({ Constraints: ['node.labels.==x'] }),
      400,
      "'node.labels.==x': no node has a 'node.labels.'",
    ],
    [
      'an operator that is none',
      placed({ Constraints: ['node.labels.a=~x'] }),
      400,
      "Placement.Constraints: 'node.labels.a=~x': constraint expected one operator from ==, !=",
    ],
    [
      'a preference for what is no label',
      placed({ Preferences: [{ Spread: { SpreadDescriptor: 'node.hostname' } }] }),
      400,
      "Placement.Preferences: 'node.hostname' is nothing to spread over; write spread=node.labels.NAME",
    ],
    [
      'a word that is none of those there are',
      spec('a', { EndpointSpec: { Mode: 'foo' }, UpdateConfig: { FailureAction: 'x' } }),
      400,
      'UpdateConfig.FailureAction: give pause, continue or rollback; EndpointSpec.Mode: give vip or dnsrr',
    ],
    [
      'a template',
      spec('a', {}, { Env: ['NODE={{.Node.Hostname}}'] }),
      400,
      "ContainerSpec.Env: 'NODE={{.Node.Hostname}}': templates are not supported yet; write the value itself",
    ],
    [
      'a template for the host name',
      spec('a', {}, { Hostname: 'web-{{.Task.Slot}}' }),
      400,
      "ContainerSpec.Hostname: 'web-{{.Task.Slot}}': templates are not supported yet",
    ],
    [
      'a capability that there is not',
      spec('a', {}, { CapabilityAdd: ['CAP_NOPE'] }),
      400,
      "ContainerSpec.CapabilityAdd: 'CAP_NOPE' is no capability; write it as CAP_NET_ADMIN",
    ],
    [
      "the host's own network",
      { ...spec('a'), TaskTemplate: { ...spec('a').TaskTemplate, Networks: [{ Target: 'host' }] } },
      400,
      "TaskTemplate.Networks: the network 'host' is not supported for services yet",
    ],
    [
      'a relative bind',
      spec('a', {}, { Mounts: [{ Type: 'bind', Source: 'x', Target: '/x' }] }),
      400,
      'mount path must be absolute',
    ],
    ['no image', spec('a', {}, { Image: '' }), 400, 'name an image'],
    ['an upper-case image', spec('a', {}, { Image: 'BusyBox/x/Y' }), 400, 'must be lower case'],
    [
      'too little memory',
      {
        ...spec('a'),
        TaskTemplate: { ...spec('a').TaskTemplate, Resources: { Limits: { MemoryBytes: 1024 } } },
      },
      400,
      'must be at least 4MiB',
    ],
    ['a host sysctl', spec('a', {}, { Sysctls: { 'kernel.panic': '1' } }), 400, 'kernel.panic'],
    [
      'an unknown log driver',
      { ...spec('a'), TaskTemplate: { ...spec('a').TaskTemplate, LogDriver: { Name: 'syslog' } } },
      400,
      'LogDriver.Name',
    ],
  ])('refuses %s', async (_, body, status, message) => {
    const answer = await create(body);

    expect(answer.status).toBe(status);
    expect(answer.body.message).toContain(message);
    expect(api.store.view().services.size).toBe(0);
  });

  test('refuses a constraint that no node can meet in an update too', async () => {
    await create(spec('web'));

    const answer = await update('web', (changed) => {
      changed.TaskTemplate.Placement = { Constraints: ['node.hostnam!=host1'] };
    });

    expect(answer).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining("'node.hostnam!=host1': no node has a 'node.hostnam'") },
    });
    expect((await inspect('web')).body.Spec.TaskTemplate.Placement?.Constraints).toBeUndefined();
  });

  test('refuses an alias that is no name', async () => {
    await api.call('POST', '/networks/create', { Name: 'shop' });

    const answer = await create(spec('a', { Networks: [{ Target: 'shop', Aliases: ['bad alias'] }] }));

    expect(answer.status).toBe(400);
    expect(answer.body.message).toContain("Networks.Aliases: 'bad alias'");
  });

  test('refuses one network by its name and its id', async () => {
    const { body: network } = await api.call('POST', '/networks/create', { Name: 'shop' });

    const answer = await create(spec('a', { Networks: [{ Target: 'shop' }, { Target: network.Id }] }));

    expect(answer.status).toBe(400);
    expect(answer.body.message).toContain('is attached twice');
  });

  test('refuses a body that is not JSON, or not said to be', async () => {
    const answer = await api.call('POST', '/services/create', Buffer.from('{"Name":"web"}'));

    expect(answer.status).toBe(400);
    expect(answer.body.message).toContain("must be 'application/json'");
  });
});

describe('updating a service', () => {
  test('of its number of replicas keeps the version that tasks are made from', async () => {
    await create(spec('web'));

    const answer = await update('web', (changed) => {
      changed.Mode.Replicated.Replicas = 6;
    });

    const service = [...api.store.view().services.all()][0]!;
    expect(answer).toMatchObject({ status: 200 });
    expect(service).toMatchObject({ specVersion: 1, spec: { replicas: 6 }, previousSpec: { replicas: 3 } });
  });

  test('of its template makes a new version beside the old', async () => {
    await create(spec('web'));

    await update('web', (changed) => {
      changed.TaskTemplate.ContainerSpec.Env = ['A=b'];
    });

    const { services, specs } = api.store.view();
    const service = [...services.all()][0]!;
    expect(service.specVersion).toBe(2);
    expect(specs.get(`${service.id}/1`)?.task?.container?.env).toEqual([]);
    expect(specs.get(`${service.id}/2`)?.task?.container?.env).toEqual(['A=b']);
  });

  test('that was made from an older copy is out of sequence', async () => {
    await create(spec('web'));
    const { body } = await inspect('web');
    await update('web', (changed) => {
      changed.Mode.Replicated.Replicas = 6;
    });

    const stale = await api.call('POST', `/services/web/update?version=${body.Version.Index}`, body.Spec);

    expect(stale).toMatchObject({ status: 500, body: { message: 'update out of sequence' } });
  });

  test('by many at once from one copy takes one of them', async () => {
    await create(spec('web'));
    const { body } = await inspect('web');

    const answers = await Promise.all(
      [4, 5, 6, 7].map((replicas) =>
        api.call('POST', `/services/web/update?version=${body.Version.Index}`, {
          ...body.Spec,
          Mode: { Replicated: { Replicas: replicas } },
        }),
      ),
    );

    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 500)).toHaveLength(3);
  });

  test('without a version is refused', async () => {
    await create(spec('web'));

    expect(await api.call('POST', '/services/web/update', spec('web'))).toMatchObject({ status: 400 });
  });

  test('can go back to the spec before, and only once there is one', async () => {
    await create(spec('web'));
    const early = await update('web', () => {}, '&rollback=previous');
    await update('web', (changed) => {
      changed.TaskTemplate.ContainerSpec.Args = ['other'];
    });

    await update('web', () => {}, '&rollback=previous');

    expect(early).toMatchObject({
      status: 400,
      body: { message: 'service web does not have a previous spec' },
    });
    const { body } = await inspect('web');
    expect(body.Spec.TaskTemplate.ContainerSpec.Args).toEqual(['httpd']);
    expect(body.UpdateStatus).toMatchObject({
      State: 'rollback_started',
      Message: 'manually requested rollback',
    });
  });

  test('keeps an image that is no longer known under its name, and resolves a new one', async () => {
    await create(spec('web'));
    const other = `sha256:${'b'.repeat(64)}`;
    await api.addImage('docker.io/library/busybox:2', other);

    const kept = await update('web', (changed) => {
      changed.TaskTemplate.ContainerSpec.Env = ['A=b'];
    });
    await update('web', (changed) => {
      changed.TaskTemplate.ContainerSpec.Image = 'busybox:2';
    });

    expect(kept.status).toBe(200);
    expect((await inspect('web')).body.Spec.TaskTemplate.ContainerSpec.Image).toBe(`busybox:2@${other}`);
  });

  test('cannot rename it or change its mode', async () => {
    await create(spec('web'));

    const renamed = await update('web', (changed) => {
      changed.Name = 'other';
    });
    const global = await update('web', (changed) => {
      changed.Mode = { Global: {} };
    });

    expect(renamed).toMatchObject({ status: 501, body: { message: 'renaming services is not supported' } });
    expect(global).toMatchObject({ status: 501, body: { message: 'service mode change is not allowed' } });
  });
});

describe('finding services', () => {
  test('by name, id and a beginning of the id that fits no other', async () => {
    const { body } = await create(spec('web'));

    for (const reference of ['web', body.ID, body.ID.slice(0, 8)]) {
      expect((await inspect(reference)).body.ID).toBe(body.ID);
    }
    expect(await inspect('nope')).toMatchObject({ status: 404, body: { message: 'service nope not found' } });
  });

  test('a beginning that fits several is ambiguous', async () => {
    await api.store.update((tx) => {
      for (const id of ['abc1', 'abc2']) tx.put('services', aService({ id }, { name: id }));
    });

    const answer = await inspect('abc');

    expect(answer).toMatchObject({
      status: 400,
      body: { message: 'service abc is ambiguous (2 matches found)' },
    });
  });

  test('by filters, and unknown filters are named', async () => {
    await create(spec('web', { Labels: { tier: 'front' } }));
    await create(spec('db'));
    const list = async (filters: object) => {
      const { body } = await api.call(
        'GET',
        `/services?filters=${encodeURIComponent(JSON.stringify(filters))}`,
      );
      return body.map?.((service: Json) => service.Spec.Name) ?? body.message;
    };

    expect(await list({ name: { w: true } })).toEqual(['web']);
    expect(await list({ label: ['tier=front'] })).toEqual(['web']);
    expect(await list({ label: ['tier=back'] })).toEqual([]);
    expect(await list({ color: ['red'] })).toContain("invalid filter 'color'");
  });

  test('with status says how many tasks run and should', async () => {
    const stop = api.runTasks();
    await create(spec('web'));
    stop();

    const { body } = await api.call('GET', '/services?status=true');

    expect(body[0].ServiceStatus).toEqual({ RunningTasks: 3, DesiredTasks: 3, CompletedTasks: 0 });
  });

  test('a removed one is no longer shown, while its tasks are', async () => {
    await create(spec('web'));

    const removed = await api.call('DELETE', '/services/web');

    expect(removed.status).toBe(200);
    expect((await api.call('GET', '/services')).body).toEqual([]);
    expect(await inspect('web')).toMatchObject({ status: 404 });
    expect([...api.store.view().services.all()][0]?.removing).toBe(true);
  });
});
