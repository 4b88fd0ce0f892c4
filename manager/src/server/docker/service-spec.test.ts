import { ServiceSpec } from '@tessera/shared/model';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { serviceSpecFromDocker } from './service-spec-from-docker.js';
import { serviceSpecToDocker } from './service-spec-to-docker.js';

const withContainer = (container: object) => ({
  Name: 'web',
  TaskTemplate: { ContainerSpec: { Image: 'busybox', ...container } },
});

describe('a spec from Docker', () => {
  test('names its image with registry and tag, and keeps a digest apart', () => {
    const plain = serviceSpecFromDocker(withContainer({}));
    const digest = `sha256:${'d'.repeat(64)}`;
    const pinned = serviceSpecFromDocker(withContainer({ Image: `team/app:2@${digest}` }));

    expect(plain.task?.container).toMatchObject({
      image: 'docker.io/library/busybox:latest',
      imageDigest: '',
    });
    expect(pinned.task?.container).toMatchObject({ image: 'docker.io/team/app:2', imageDigest: digest });
  });

  test('takes nanoseconds as milliseconds, a part of one as a whole one', () => {
    const spec = serviceSpecFromDocker({
      ...withContainer({ StopGracePeriod: 0 }),
      UpdateConfig: { Parallelism: 2, Delay: 1_500_001 },
    });

    expect(spec.task?.container?.stopGraceMs).toBe(0);
    expect(spec.update).toMatchObject({ parallelism: 2, delayMs: 2, monitorMs: 5_000 });
  });

  test("has Swarm's defaults where nothing is said", () => {
    const spec = serviceSpecFromDocker(withContainer({}));

    expect(spec).toMatchObject({ mode: 'replicated', replicas: 1, endpoint: { mode: 'vip' } });
    expect(spec.task?.restart).toMatchObject({ condition: 'any', delayMs: 5_000, maxAttempts: 0 });
    expect(spec.task?.container?.stopGraceMs).toBe(-1);
    expect(spec.update).toBeUndefined();
  });

  test('takes networks from where old clients put them', () => {
    const spec = serviceSpecFromDocker({ ...withContainer({}), Networks: [{ Target: 'shop' }] });

    expect(spec.task?.networks).toMatchObject([{ networkId: 'shop', aliases: [] }]);
  });

  test('may be global', () => {
    expect(serviceSpecFromDocker({ ...withContainer({}), Mode: { Global: {} } }).mode).toBe('global');
  });
});

describe('what is not honoured is refused by name', () => {
  const refusals: readonly [what: string, body: object, field: string][] = [
    [
      'published ports',
      { ...withContainer({}), EndpointSpec: { Ports: [{ TargetPort: 80 }] } },
      'EndpointSpec.Ports',
    ],
    ['secrets', withContainer({ Secrets: [{ SecretID: 'a' }] }), 'TaskTemplate.ContainerSpec.Secrets'],
    ['configs', withContainer({ Configs: [{ ConfigID: 'a' }] }), 'TaskTemplate.ContainerSpec.Configs'],
    ['a terminal', withContainer({ TTY: true }), 'TaskTemplate.ContainerSpec.TTY'],
    ['an init', withContainer({ Init: true }), 'TaskTemplate.ContainerSpec.Init'],
    [
      'a health interval under a millisecond',
      withContainer({ Healthcheck: { Interval: 1e5 } }),
      'Interval in Healthcheck cannot be less than 1ms',
    ],
    [
      'options of a volume for a bind',
      withContainer({
        Mounts: [{ Type: 'bind', Source: '/b', Target: '/a', VolumeOptions: { NoCopy: true } }],
      }),
      'invalid mount config for type "bind": field VolumeOptions must not be specified',
    ],
    [
      'an SELinux context',
      withContainer({ Privileges: { SELinuxContext: { Disable: true } } }),
      'Privileges.SELinuxContext',
    ],
    [
      'generic resources',
      {
        TaskTemplate: {
          ...withContainer({}).TaskTemplate,
          Resources: { Reservations: { GenericResources: [{}, 1] } },
        },
      },
      'Resources.Reservations.GenericResources',
    ],
    ['jobs', { ...withContainer({}), Mode: { GlobalJob: {} } }, 'Mode.GlobalJob: jobs are not supported'],
    ['an unknown mode', { ...withContainer({}), Mode: { Weird: {} } }, 'Mode.Weird: is not a mode'],
    [
      'plugins',
      { TaskTemplate: { ...withContainer({}).TaskTemplate, Runtime: 'plugin' } },
      'TaskTemplate.Runtime',
    ],
    ['what nobody knows', withContainer({ Frobnicate: 'yes' }), 'TaskTemplate.ContainerSpec.Frobnicate'],
    [
      'what only looks known',
      withContainer({ constructor: 'yes' }),
      'TaskTemplate.ContainerSpec.constructor',
    ],
    [
      'a mount of an odd type',
      withContainer({ Mounts: [{ Type: 'constructor', Target: '/a' }] }),
      'invalid mount config for type "constructor": mount type unknown',
    ],
    ['a wrong type', withContainer({ Env: 'A=b' }), 'TaskTemplate.ContainerSpec.Env'],
    [
      'a negative number',
      { ...withContainer({}), Mode: { Replicated: { Replicas: -1 } } },
      'Mode.Replicated.Replicas',
    ],
  ];
  test.each(refusals)('%s', (_, body, field) => {
    expect(() => serviceSpecFromDocker(body)).toThrow(field);
  });

  test('yet empty values of any field are what clients send for "not given"', () => {
    const spec = serviceSpecFromDocker({
      ...withContainer({
        Secrets: null,
        Configs: [],
        Isolation: '',
        TTY: false,
        Init: false,
        Healthcheck: {},
      }),
      EndpointSpec: { Mode: '', Ports: [] },
      Unknown: { Deep: { Empty: null } },
    });

    expect(spec.name).toBe('web');
  });
});

describe('a spec to Docker and back', () => {
  const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
  const words = fc.array(word, { maxLength: 3 });
  const labels = fc.dictionary(word, word, { maxKeys: 3 });
  const ms = fc.integer({ min: 0, max: 86_400_000 });
  const resources = fc.record({
    nanoCpus: fc.integer({ min: 0, max: 64e9 }),
    memoryBytes: fc.integer({ min: 0, max: 2 ** 40 }),
    pids: fc.integer({ min: 0, max: 1e6 }),
  });
  const update = fc.option(
    fc.record({
      parallelism: fc.nat(10),
      delayMs: ms,
      failureAction: fc.constantFrom('pause', 'proceed', 'rollback'),
      monitorMs: fc.integer({ min: 1, max: 60_000 }),
      maxFailureRatio: fc.double({ min: 0, max: 1, noNaN: true }),
      order: fc.constantFrom('stop_first', 'start_first'),
    }),
    { nil: undefined },
  );
  const container = fc.record({
    image: word.map((name) => `docker.io/library/${name}:latest`),
    imageDigest: fc.constantFrom('', `sha256:${'e'.repeat(64)}`),
    command: words,
    args: words,
    env: words.map((list) => list.map((name) => `${name}=1`)),
    dir: fc.constantFrom('', '/srv'),
    user: fc.constantFrom('', '1000:1000'),
    groups: words,
    hostname: fc.constantFrom('', 'h'),
    labels,
    readOnly: fc.boolean(),
    stopSignal: fc.constantFrom('', 'SIGINT'),
    stopGraceMs: fc.oneof(fc.constant(-1), ms),
    mounts: fc.array(
      fc
        .record({
          type: fc.constantFrom('bind', 'tmpfs', 'volume'),
          target: word.map((name) => `/${name}`),
          readOnly: fc.boolean(),
          propagation: fc.constantFrom('', 'rslave'),
          tmpfsSizeBytes: fc.nat(1e6),
          tmpfsMode: fc.constantFrom(0, 0o700),
        })
        // What is of one kind alone is refused with another.
        .map(({ type, target, readOnly, propagation, ...tmpfs }) => ({
          type,
          target,
          readOnly,
          ...(type === 'tmpfs' ? tmpfs : { source: type === 'bind' ? '/src' : 'data' }),
          ...(type === 'bind' ? { propagation } : {}),
        })),
      { maxLength: 2 },
    ),
    hosts: fc.constantFrom([], ['10.0.0.1 db']),
    dnsServers: fc.constantFrom([], ['1.1.1.1']),
    dnsSearch: words,
    sysctls: fc.constantFrom({}, { 'net.core.somaxconn': '10' }),
    ulimits: fc.constantFrom([], [{ name: 'nofile', soft: 0, hard: 20 }]),
    capAdd: fc.constantFrom([], ['CAP_NET_ADMIN']),
    noNewPrivileges: fc.boolean(),
    oomScoreAdj: fc.integer({ min: -1000, max: 1000 }),
  });
  const spec = fc.record({
    name: word,
    labels,
    mode: fc.constantFrom('replicated', 'global'),
    replicas: fc.nat(100),
    update,
    rollback: update,
    endpoint: fc.record({ mode: fc.constantFrom('vip', 'dnsrr') }),
    task: fc.record({
      container,
      resources: fc.record({ limits: resources, reservations: resources }),
      restart: fc.record({
        condition: fc.constantFrom('any', 'on_failure', 'none'),
        delayMs: ms,
        maxAttempts: fc.nat(10),
        windowMs: ms,
      }),
      placement: fc.record({
        constraints: words,
        spreadOver: words,
        maxReplicasPerNode: fc.nat(5),
        platforms: fc.array(
          fc.record({ os: fc.constantFrom('', 'linux'), architecture: fc.constantFrom('', 'arm64') }),
          { maxLength: 2 },
        ),
      }),
      networks: fc.array(fc.record({ networkId: word, aliases: words }), { maxLength: 2 }),
      logDriver: fc.option(fc.record({ name: word, options: labels }), { nil: undefined }),
      forceUpdate: fc.nat(3),
    }),
  });

  test('is the same spec, so that reading and writing back changes nothing', () => {
    fc.assert(
      fc.property(spec, (parts) => {
        const global = parts.mode === 'global' ? { replicas: 0 } : {};
        const before = ServiceSpec.fromPartial({ ...parts, ...global } as unknown as ServiceSpec);

        const after = serviceSpecFromDocker(JSON.parse(JSON.stringify(serviceSpecToDocker(before))));

        expect(Buffer.from(ServiceSpec.encode(after).finish())).toEqual(
          Buffer.from(ServiceSpec.encode(sorted(before)).finish()),
        );
      }),
    );
  });

  /** The edge keeps maps in one order. */
  function sorted(value: ServiceSpec): ServiceSpec {
    const order = (map: { [key: string]: string }) =>
      Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
    const { task } = value;
    const container = task?.container;
    return {
      ...value,
      labels: order(value.labels),
      task: task && {
        ...task,
        container: container && {
          ...container,
          labels: order(container.labels),
          sysctls: order(container.sysctls),
        },
        logDriver: task.logDriver && { ...task.logDriver, options: order(task.logDriver.options) },
      },
    };
  }
});
