import { SeededRandom } from '@tessera/shared/testing';
import { type DecodedPacket, decode, encode, type Packet, type RecordType } from 'dns-packet';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { LabHost } from '../../bench/overlay-lab.js';
import { aNetwork, anEndpoint, aVirtualService } from '../../bench/overlay-site.js';
import { encodeAnswer, judge, type NameView, parseQuery, serverFailure } from './answer.js';
import { parseResolvConf } from './forwarder.js';
import { NameIndex } from './name-index.js';

const host = { name: 'host1', address: '10.99.0.1' } as LabHost;
const db = { serviceId: 'service-db', serviceName: 'db' };
const index = new NameIndex({
  networks: [aNetwork(1, 'shop'), aNetwork(2, 'back')],
  endpoints: [
    anEndpoint(host, '10.0.1.5', { aliases: ['web.1.abc', 'front'] }),
    anEndpoint(host, '10.0.1.6', { aliases: ['web.2.def', 'front'] }),
    anEndpoint(host, '10.0.1.7', { aliases: ['web.3.ghi', 'front'], state: 'starting' }),
    anEndpoint(host, '10.0.1.8', { aliases: ['web.4.jkl', 'front'], state: 'draining' }),
    anEndpoint(host, '10.0.2.5', { ...db, aliases: ['db.1.mno'] }),
    anEndpoint(host, '10.0.1.20', { serviceId: 'service-rr', serviceName: 'rr', aliases: ['rr.1.x'] }),
    anEndpoint(host, '10.0.1.21', { serviceId: 'service-rr', serviceName: 'rr', aliases: ['rr.2.y'] }),
  ],
  virtualServices: [
    aVirtualService('10.0.1.2', { aliases: ['www'] }),
    aVirtualService('10.0.2.2', db),
    aVirtualService('10.0.1.3', { serviceId: 'service-idle', serviceName: 'idle' }),
    aVirtualService('10.0.1.4', { serviceId: 'service-rr', serviceName: 'rr', mode: 'dnsrr', addr: '' }),
  ],
});
const view = (...networks: number[]): NameView => ({
  index,
  networkIds: networks.map((n) => `network-${n}`),
});
const random = new SeededRandom(1);

const question = (name: string, type: RecordType = 'A', part: Partial<Packet> = {}): DecodedPacket =>
  parseQuery(
    encode({ type: 'query', id: 1, flags: 0x100, questions: [{ name, type }], ...part }),
  ) as DecodedPacket;

/** Answered addresses, or what else was decided. */
function ask(name: string, where: NameView, type: RecordType = 'A'): unknown {
  const verdict = judge(question(name, type), where, random);
  if (verdict.kind === 'forward') return 'forward';
  if (verdict.rcode !== 'noError') return verdict.rcode;
  return verdict.answers.map((answer) => ('data' in answer ? String(answer.data) : '')).sort();
}

test('a service’s name is its virtual address, tasks.NAME its ready tasks', () => {
  expect(ask('web', view(1))).toEqual(['10.0.1.2']);
  expect(ask('Web.Shop', view(1))).toEqual(['10.0.1.2']);
  expect(ask('www', view(1))).toEqual(['10.0.1.2']);
  expect(ask('tasks.web', view(1))).toEqual(['10.0.1.5', '10.0.1.6']);
});

test('a service that goes leaves its name to the one that has ready tasks', () => {
  const gone = aVirtualService('10.0.1.99', { serviceId: 'service-gone' });
  const live = aVirtualService('10.0.1.2');
  for (const virtualServices of [
    [gone, live],
    [live, gone],
  ]) {
    const both = new NameIndex({
      networks: [aNetwork(1, 'shop')],
      endpoints: [
        anEndpoint(host, '10.0.1.5'),
        anEndpoint(host, '10.0.1.90', { serviceId: 'service-gone', state: 'draining' }),
      ],
      virtualServices,
    });
    expect(ask('web', { index: both, networkIds: ['network-1'] })).toEqual(['10.0.1.2']);
    expect(ask('tasks.web', { index: both, networkIds: ['network-1'] })).toEqual(['10.0.1.5']);
  }
});

test('with dnsrr the name is every ready task', () => {
  expect(ask('rr', view(1))).toEqual(['10.0.1.20', '10.0.1.21']);
});

test('an alias shared by tasks is all of them that are ready, a task’s own name only itself', () => {
  expect(ask('front', view(1))).toEqual(['10.0.1.5', '10.0.1.6']);
  expect(ask('web.1.abc', view(1))).toEqual(['10.0.1.5']);
  expect(ask('web.3.ghi', view(1))).toBe('forward');
});

test('names of networks that the container is not on are unknown to it', () => {
  expect(ask('db', view(1))).toBe('forward');
  expect(ask('db', view(1, 2))).toEqual(['10.0.2.2']);
  expect(ask('tasks.db', view(1))).toBe('nameError');
  expect(ask('5.2.0.10.in-addr.arpa', view(1), 'PTR')).toBe('forward');
});

test('another type of a name that exists is an empty answer', () => {
  expect(ask('web', view(1), 'AAAA')).toEqual([]);
  expect(ask('tasks.idle', view(1))).toEqual([]);
});

test('an address leads back to its task; one of the network that nobody has is not asked about outside', () => {
  expect(ask('5.1.0.10.in-addr.arpa', view(1), 'PTR')).toEqual(['web.1.abc.shop']);
  expect(ask('77.1.0.10.in-addr.arpa', view(1), 'PTR')).toBe('nameError');
  expect(ask('1.2.0.192.in-addr.arpa', view(1), 'PTR')).toBe('forward');
  expect(ask('999.1.0.10.in-addr.arpa', view(1), 'PTR')).toBe('forward');
});

test('tasks are answered in changing order', () => {
  const orders = new Set<string>();
  for (let round = 0; round < 50; round++) {
    const verdict = judge(question('tasks.web'), view(1), random);
    if (verdict.kind === 'answer') orders.add(JSON.stringify(verdict.answers));
  }
  expect(orders.size).toBe(2);
});

test('an answer too long for UDP says so, and is whole by TCP', () => {
  const many = new NameIndex({
    networks: [aNetwork(1, 'shop')],
    endpoints: Array.from({ length: 200 }, (_, n) => anEndpoint(host, `10.0.1.${n + 3}`, { aliases: [] })),
    virtualServices: [aVirtualService('10.0.1.2')],
  });
  const query = question('tasks.web');
  const verdict = judge(query, { index: many, networkIds: ['network-1'] }, random);
  if (verdict.kind !== 'answer') throw new Error('not answered');

  const udp = encodeAnswer(query, verdict, 'udp');
  const tcp = decode(encodeAnswer(query, verdict, 'tcp'));

  expect(udp.length).toBeLessThanOrEqual(512);
  expect(decode(udp)).toMatchObject({ flag_tc: true, answers: [] });
  expect(tcp.flag_tc).toBe(false);
  expect(tcp.answers).toHaveLength(200);
});

test('the question’s id, name and EDNS come back', () => {
  const query = question('web', 'A', {
    id: 77,
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 4096,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  });
  const reply = decode(serverFailure(query, 'udp')) as DecodedPacket & { rcode: string };

  expect(reply).toMatchObject({ id: 77, rcode: 'SERVFAIL', flag_qr: true, flag_rd: true, flag_ra: true });
  expect(reply.questions).toMatchObject([{ name: 'web', type: 'A' }]);
  expect(reply.additionals).toMatchObject([{ type: 'OPT' }]);
});

test('whatever bytes come in, there is a verdict or silence', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const query = parseQuery(Buffer.from(bytes));
      if (!query) return;
      const verdict = judge(query, view(1), random);
      if (verdict.kind === 'answer') encodeAnswer(query, verdict, 'udp');
    }),
    { numRuns: 2_000 },
  );
  expect(parseQuery(encode({ type: 'response', id: 1, questions: [] }))).toBeUndefined();
});

test('resolvers are read from resolv.conf', () => {
  expect(
    parseResolvConf('# none\nnameserver 192.0.2.1\n search x\nnameserver  fd00::1 \nnameserver bad host\n'),
  ).toEqual([
    { host: '192.0.2.1', port: 53 },
    { host: 'fd00::1', port: 53 },
  ]);
});
