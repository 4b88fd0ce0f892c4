import type { NetworkInterfaceInfo } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  addressTowards,
  advertiseAddress,
  hostOf,
  type Interfaces,
  listenAddress,
  portOf,
  withPort,
} from './addresses.js';

const address = (text: string, internal = false): NetworkInterfaceInfo =>
  ({ address: text, family: text.includes(':') ? 'IPv6' : 'IPv4', internal }) as NetworkInterfaceInfo;
const one: Interfaces = { lo: [address('127.0.0.1', true)], eth0: [address('10.0.0.5'), address('fe80::1')] };
const two: Interfaces = { ...one, eth1: [address('192.168.1.5')] };

describe('an address to advertise', () => {
  test('is the only one of the host when none is given', () => {
    expect(advertiseAddress('', 2377, one)).toBe('10.0.0.5:2377');
  });

  test('must be chosen by the user when the host has several, or none', () => {
    expect(() => advertiseAddress('', 2377, two)).toThrow(
      'multiple addresses (10.0.0.5 on eth0 and 192.168.1.5 on eth1) - specify one with --advertise-addr',
    );
    expect(() => advertiseAddress('', 2377, {})).toThrow('could not find the address of this host');
  });

  test('may be an interface, with a port or without', () => {
    expect(advertiseAddress('eth1', 2377, two)).toBe('192.168.1.5:2377');
    expect(advertiseAddress('eth1:7000', 2377, two)).toBe('192.168.1.5:7000');
  });

  test('cannot be the wildcard, nor something this host does not have', () => {
    expect(() => advertiseAddress('0.0.0.0', 2377, one)).toThrow('must be a non-zero IP address');
    expect(() => advertiseAddress('eth9', 2377, one)).toThrow('neither an IP address nor an interface');
    expect(() => advertiseAddress('10.0.0.5:99999', 2377, one)).toThrow('invalid advertise address');
  });
});

test('an address to listen on is every one when none is given', () => {
  expect(listenAddress('', 2377, one)).toBe('0.0.0.0:2377');
  expect(listenAddress('10.0.0.5', 2377, one)).toBe('10.0.0.5:2377');
  expect(listenAddress(':7000', 2377, one)).toBe('0.0.0.0:7000');
});

test('IPv6 addresses keep their brackets', () => {
  expect(withPort('fd00::1', 2377)).toBe('[fd00::1]:2377');
  expect(withPort('[fd00::1]:99', 2377)).toBe('[fd00::1]:99');
  expect(hostOf('[fd00::1]:99')).toBe('fd00::1');
  expect(portOf('[fd00::1]:99')).toBe(99);
});

test("a manager's address gets the default port, and may be a name", () => {
  expect(withPort('manager.example', 2377)).toBe('manager.example:2377');
  for (const bad of ['', ':2377', '10.0.0.5:99999', 'not an address', 'a:b:c'])
    expect(() => withPort(bad, 2377), bad).toThrow(
      `invalid remote address "${bad}": give a manager's address as HOST or HOST:PORT`,
    );
});

test('a joining node is reached by the address from which it reaches its manager', async () => {
  expect(await addressTowards('127.0.0.5:2377')).toBe('127.0.0.1');
  await expect(addressTowards('no-such-host.invalid:2377')).rejects.toThrow(
    'no route to no-such-host.invalid:2377',
  );
});
