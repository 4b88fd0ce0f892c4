import { expect, test } from 'vitest';
import { parseConfig } from './config.js';

const BASE = [
  ...['--data-dir', '/d/manager', '--run-dir', '/r', '--node-dir', '/d/node', '--hostname', 'host1'],
  ...['--listen-addr', '0.0.0.0:2377', '--advertise-addr', '10.0.0.1:2377'],
];

test('the API over TLS listens beside the gRPC server unless it is told otherwise', () => {
  expect(parseConfig(BASE).apiListenAddr).toBe('0.0.0.0:2376');
  expect(parseConfig([...BASE, '--api-listen-addr', '127.0.0.1:0']).apiListenAddr).toBe('127.0.0.1:0');
  expect(parseConfig([...BASE, '--api-listen-addr', 'none']).apiListenAddr).toBeUndefined();
});

test('without init there is nothing to make a cluster of', () => {
  expect(parseConfig([...BASE, '--subnet-size', '26']).init).toBeUndefined();
});

test('a new cluster has Swarm’s pools unless it is given others', () => {
  expect(parseConfig([...BASE, '--init']).init).toMatchObject({
    defaultAddrPools: ['10.0.0.0/8'],
    subnetSize: 24,
    taskHistoryLimit: 5,
    heartbeatPeriodMs: 1000,
    dataPathPort: 4789,
    availability: 'active',
    forceNewCluster: false,
  });
  const pools = ['--default-addr-pool', '10.1.0.0/16', '--default-addr-pool', '10.2.0.0/16'];
  expect(parseConfig([...BASE, '--init', ...pools]).init?.defaultAddrPools).toEqual([
    '10.1.0.0/16',
    '10.2.0.0/16',
  ]);
});

test('IPv6 addresses are written in brackets', () => {
  const config = parseConfig([...BASE, '--listen-addr', '[::]:2377']);

  expect(config.apiListenAddr).toBe('[::]:2376');
});

test.each([
  [['--listen-addr', 'eth0:2377'], '--listen-addr'],
  [['--advertise-addr', '10.0.0.1'], '--advertise-addr'],
  [['--advertise-addr', '10.0.0.1:70000'], '--advertise-addr'],
  [['--hostname', ''], '--hostname'],
  [['--log-level', 'loud'], '--log-level'],
  [['--init', '--subnet-size', '30'], '--subnet-size'],
  [['--init', '--task-history-limit', '-1'], '--task-history-limit'],
  [['--init', '--heartbeat-period-ms', '10'], '--heartbeat-period-ms'],
  [['--init', '--data-path-port', '80'], '--data-path-port'],
  [['--init', '--default-addr-pool', '10.0.0.0'], '--default-addr-pool'],
  [['--init', '--default-addr-pool', '10.0.0.0/28'], '--subnet-size'],
  [['--init', '--availability', 'gone'], '--availability'],
  [['--no-such-flag'], '--no-such-flag'],
])('%j is refused by the name of its flag', (flags, name) => {
  expect(() => parseConfig([...BASE, ...flags])).toThrow(name);
});
