import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';
import { systemClock } from '@tessera/shared/env';
import { ClusterError, toServiceError } from '@tessera/shared/errors';
import { formatJoinToken } from '@tessera/shared/join-token';
import { TestAuthority } from '@tessera/shared/testing/certificates';
import { CertificateAuthorityService, type JoinRequest, JoinResponse } from '@tessera/shared/wire';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { joinCluster } from './join-client.js';
import { newSigningRequest } from './signing-request.js';

const SECRET = 'a'.repeat(25);
let authority: TestAuthority;
let token: string;
let csrPem: string;
beforeAll(async () => {
  authority = await TestAuthority.create();
  token = formatJoinToken(authority.caCertPem, SECRET);
  csrPem = (await newSigningRequest()).csrPem;
});

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.forceShutdown();
});

interface Manager {
  readonly addr: string;
  readonly joins: JoinRequest[];
}

/** A manager whose CA, and what it says its CA is, may differ. */
async function aManager(
  options: { own?: TestAuthority; claimed?: string; refuse?: ClusterError } = {},
): Promise<Manager> {
  const { own = authority, claimed = own.caCertPem, refuse } = options;
  const { keyPem, certPem } = await own.issue({ nodeId: 'm', role: 'manager' });
  const joins: JoinRequest[] = [];
  const server = new Server();
  servers.push(server);
  server.addService(CertificateAuthorityService, {
    getRootCertificate: (_: unknown, reply: sendUnaryData<{ caCertPem: string }>) =>
      reply(null, { caCertPem: claimed }),
    join: async (
      { request }: ServerUnaryCall<JoinRequest, JoinResponse>,
      reply: sendUnaryData<JoinResponse>,
    ) => {
      joins.push(request);
      if (refuse) return reply(toServiceError(refuse));
      const issued = await own.issueFor(request.csrPem, { nodeId: 'new', role: 'worker' });
      reply(null, JoinResponse.fromPartial({ nodeId: 'new', certPem: issued, caCertPem: own.caCertPem }));
    },
    renew: () => undefined,
  });
  const pair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certPem) };
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair], false), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return { addr: `127.0.0.1:${port}`, joins };
}

const join = (managerAddrs: string[], withToken = token) =>
  joinCluster({
    managerAddrs,
    token: withToken,
    csrPem,
    hostname: 'host2',
    availability: 'active',
    clock: systemClock,
    signal: new AbortController().signal,
  });

test('a node gets a certificate for its key from the manager its token speaks of', async () => {
  const manager = await aManager();

  const answer = await join([manager.addr]);

  expect(answer.nodeId).toBe('new');
  expect(answer.certPem).toContain('BEGIN CERTIFICATE');
  expect(manager.joins).toMatchObject([{ token, hostname: 'host2' }]);
});

test('a manager of another cluster never sees the token', async () => {
  const stranger = await aManager({ own: await TestAuthority.create() });

  await expect(join([stranger.addr])).rejects.toThrow('the join token is of another cluster');
  expect(stranger.joins).toEqual([]);
});

test('whoever shows the right CA certificate without a certificate of its own from it never sees the token', async () => {
  const impostor = await aManager({ own: await TestAuthority.create(), claimed: authority.caCertPem });

  await expect(join([impostor.addr])).rejects.toMatchObject({ kind: 'unavailable' });
  expect(impostor.joins).toEqual([]);
});

test('what is no certificate is no proof either', async () => {
  const odd = await aManager({ claimed: 'not a certificate' });

  await expect(join([odd.addr])).rejects.toThrow('did not answer with a certificate');
  expect(odd.joins).toEqual([]);
});

test('managers that are away are passed over', async () => {
  const there = await aManager();

  const answer = await join(['127.0.0.1:1', there.addr]);

  expect(answer.nodeId).toBe('new');
});

test('when none answers, each is named with what went wrong', async () => {
  await expect(join(['127.0.0.1:1'])).rejects.toThrow(
    'no manager could be reached (127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1)',
  );
});

test('a refused token is told as the manager says it, and no other manager is asked', async () => {
  const refusing = await aManager({
    refuse: new ClusterError('invalidArgument', 'this join token is not valid'),
  });
  const other = await aManager();

  await expect(join([refusing.addr, other.addr])).rejects.toMatchObject({
    kind: 'invalidArgument',
    message: 'this join token is not valid',
  });
  expect(other.joins).toEqual([]);
});

test('text that is no token never leaves this host', async () => {
  const manager = await aManager();

  await expect(join([manager.addr], 'SWMTKN-1-x-y')).rejects.toThrow('invalid join token');
  expect(manager.joins).toEqual([]);
});
