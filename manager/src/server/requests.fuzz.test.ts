import { request } from 'node:http';
import { type Logger, silentLogger } from '@tessera/shared/env';
import { FUZZ_TIMEOUT_MS, fuzzed } from '@tessera/shared/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { apiRoutes } from './index.js';
import { ApiFixture } from './testing/api-fixture.js';

/** Faults of ours, as the server logs them: a TypeError behind a 500 is one, whatever the request was. */
const faults: object[] = [];
const logger: Logger = {
  ...silentLogger,
  error: (fields) => {
    faults.push(fields);
  },
  child: () => logger,
};

let fixture: ApiFixture;
beforeAll(async () => {
  fixture = await ApiFixture.start({ logger });
  await fixture.addImage();
});
afterAll(() => fixture[Symbol.asyncDispose]());

const healthcheck = { Test: ['CMD', 'true'], Interval: 1e9, Timeout: 1e9, StartPeriod: 0, Retries: 3 };
/** Bodies that are right, to be spoiled; by the end of their route. */
const SAMPLES: Readonly<Record<string, object>> = {
  '/containers/create': {
    Image: 'busybox',
    Cmd: ['true'],
    Entrypoint: ['sh'],
    Env: ['A=1', 'constraint:node==host1'],
    Labels: { a: 'b' },
    ExposedPorts: { '80/tcp': {} },
    Volumes: { '/data': {} },
    Healthcheck: healthcheck,
    HostConfig: {
      Binds: ['/a:/b:ro'],
      Mounts: [{ Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1024 } }],
      PortBindings: { '80/tcp': [{ HostIp: '', HostPort: '8080-8090' }] },
      RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 2 },
      NetworkMode: 'bridge',
      CapAdd: ['NET_ADMIN'],
      Devices: [{ PathOnHost: '/dev/null', PathInContainer: '/dev/x', CgroupPermissions: 'rwm' }],
      Ulimits: [{ Name: 'nofile', Soft: 10, Hard: 20 }],
      Sysctls: { 'net.core.somaxconn': '10' },
      ExtraHosts: ['a:1.2.3.4'],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m' } },
      SecurityOpt: ['no-new-privileges'],
      Tmpfs: { '/run': 'size=1m' },
      Memory: 1e9,
      NanoCpus: 1e9,
      BlkioDeviceReadBps: [{ Path: '/dev/null', Rate: 1 }],
    },
    NetworkingConfig: { EndpointsConfig: { bridge: { Aliases: ['x'] } } },
  },
  '/update': { Memory: 1e9, RestartPolicy: { Name: 'always' }, Name: 'web', Labels: { a: 'b' } },
  '/exec': { Cmd: ['true'], Env: ['A=1'], AttachStdout: true, ConsoleSize: [24, 80], DetachKeys: 'ctrl-a' },
  '/start': { Detach: false, Tty: true, ConsoleSize: [24, 80] },
  '/services/create': {
    Name: 'web',
    TaskTemplate: { ContainerSpec: { Image: 'busybox', Healthcheck: healthcheck, Mounts: [] } },
    Mode: { Replicated: { Replicas: 1 } },
    EndpointSpec: { Mode: 'vip' },
    UpdateConfig: { Parallelism: 1, MaxFailureRatio: 0.5 },
  },
  '/networks/create': { Name: 'n', Driver: 'overlay', IPAM: { Config: [{ Subnet: '10.1.0.0/24' }] } },
  '/auth': { username: 'a', password: 'b', serveraddress: '127.0.0.1:1' },
  '/client-certificates': { name: 'me', validDays: 1 },
};

const odd = fc.oneof(
  fc.constantFrom(null, true, 0, -1, 1.5, 1e300, 2 ** 53, -(2 ** 63), '', '\0', '../..', [], {}, [null], 'Ü'),
  fc.constantFrom(
    'x'.repeat(70_000),
    [[[[[[]]]]]],
    { __proto__: null, constructor: 1 },
    '1:2:3:4:5',
    '::',
    '/',
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Paths to every value in a body. */
function pathsOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...path, key]))];
}

/** The same, but for one value or one field more. */
function spoil(value: unknown, path: readonly string[], by: unknown, extra: boolean): unknown {
  const [key, ...rest] = path;
  if (key === undefined)
    return extra && typeof value === 'object' && value !== null ? { ...value, Odd: by } : by;
  if (Array.isArray(value))
    return value.map((inner, i) => (String(i) === key ? spoil(inner, rest, by, extra) : inner));
  const inner = (value as Record<string, unknown>)[key];
  return { ...(value as object), [key]: spoil(inner, rest, by, extra) };
}

const bodyOf = (pattern: string): fc.Arbitrary<Buffer | undefined> => {
  const sample = Object.entries(SAMPLES).find(([end]) => pattern.endsWith(end))?.[1] ?? { Name: 'x' };
  const spoiled = fc
    .record({ path: fc.constantFrom(...pathsOf(sample)), by: odd, extra: fc.boolean() })
    .map(({ path, by, extra }) => Buffer.from(JSON.stringify(spoil(sample, path, by, extra)) ?? ''));
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const cut = fc.nat(60).map((length) => Buffer.from(JSON.stringify(sample)).subarray(0, length));
  return fc.oneof(
    { weight: 6, arbitrary: spoiled },
    { weight: 1, arbitrary: bytes },
    { weight: 1, arbitrary: cut },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
};

const QUERY_NAMES =
  'filters limit size all name force v signal t condition h w stdout tail since until names tag';
const query = fc
  .array(
    fc.tuple(
      fc.constantFrom(...QUERY_NAMES.split(' ')),
      fc.oneof(
        fc.constantFrom(
          '1',
          '-1',
          'true',
          '{',
          '{"label":["a"]}',
          '{"label":{"a":true}}',
          '[]',
          '9'.repeat(30),
        ),
        fc.string({ maxLength: 20 }),
      ),
    ),
    { maxLength: 3 },
  )
  .map((pairs) => new URLSearchParams(pairs).toString());
const name = fc.constantFrom(
  'x',
  'busybox',
  'node-1/x',
  '%2e%2e',
  '%00',
  '%',
  'a'.repeat(300),
  '%F0%9F%98%80',
  '-',
);

const routes = () => apiRoutes(fixture.deps).map(({ method, pattern }) => ({ method, pattern }));

/** What is left of a request that is not answered at once is let go: many of these wait for something to happen. */
const PATIENCE_MS = 100;

function ask(method: string, path: string, body: Buffer | undefined): Promise<number | 'waits'> {
  return new Promise((resolve) => {
    const sent = request(
      {
        socketPath: fixture.socketPath,
        method,
        path,
        headers: body ? { 'content-type': 'application/json', 'content-length': body.length } : {},
        timeout: PATIENCE_MS,
      },
      (response) => {
        response.resume();
        response.on('error', () => resolve('waits'));
        response.on('end', () => resolve(response.statusCode ?? 0));
      },
    );
    sent.on('timeout', () => sent.destroy());
    sent.on('error', () => resolve('waits'));
    sent.end(body);
  });
}

test('whatever is asked of any route, what comes of it is no fault of the server’s', {
  timeout: FUZZ_TIMEOUT_MS,
}, async () => {
  const asked = fc.constantFrom(...routes()).chain(({ method, pattern }) =>
    fc.record({
      method: fc.constant(method),
      path: fc
        .tuple(name, query)
        .map(([value, search]) => `/v1.43${pattern.replace(/:\w+/g, value)}?${search}`),
      body: method === 'GET' || method === 'HEAD' ? fc.constant(undefined) : bodyOf(pattern),
    }),
  );

  await fc.assert(
    fc.asyncProperty(asked, async ({ method, path, body }) => {
      faults.length = 0;
      await ask(method, path, body);
      expect(faults).toEqual([]);
      // It is there for the next one.
      expect((await fixture.call('GET', '/_ping')).status).toBe(200);
    }),
    fuzzed(400),
  );
});
