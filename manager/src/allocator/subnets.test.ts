import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Block,
  contains,
  formatAddress,
  formatBlock,
  lastOf,
  overlap,
  parseAddress,
  parseBlock,
} from './ipv4.js';
import { chooseSubnet, isAssignable, parsePool, toIpamPool } from './subnets.js';

const address = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const block = fc
  .tuple(address, fc.integer({ min: 8, max: 30 }))
  .map(([base, prefix]): Block => ({ base: base - (base % 2 ** (32 - prefix)), prefix }));

test('addresses and subnets are read as they are written', () => {
  fc.assert(
    fc.property(address, block, (number, subnet) => {
      expect(parseAddress(formatAddress(number), 'address')).toBe(number);
      expect(parseBlock(formatBlock(subnet), 'subnet')).toEqual(subnet);
    }),
  );
});

test('subnets overlap when they share an address', () => {
  fc.assert(
    fc.property(block, block, (a, b) => {
      const shares = contains(a, b.base) || contains(a, lastOf(b)) || contains(b, a.base);
      expect(overlap(a, b)).toBe(shares);
    }),
  );
});

test('a subnet is chosen within the pools, of the size asked for, and overlaps nothing that is taken', () => {
  fc.assert(
    fc.property(fc.array(block, { maxLength: 6 }), fc.integer({ min: 16, max: 28 }), (taken, prefix) => {
      // Six blocks of this size cannot fill both pools.
      fc.pre(taken.every((other) => other.prefix > 11));

      const chosen = chooseSubnet(['10.0.0.0/8', '172.16.0.0/12'], prefix, taken);

      expect(chosen.prefix).toBe(prefix);
      expect(chosen.base % 2 ** (32 - prefix)).toBe(0);
      const pools = [parseBlock('10.0.0.0/8', ''), parseBlock('172.16.0.0/12', '')];
      expect(pools.some((pool) => contains(pool, chosen.base) && contains(pool, lastOf(chosen)))).toBe(true);
      expect(taken.filter((other) => overlap(other, chosen))).toEqual([]);
    }),
  );
});

test('the first block of the pool is used last', () => {
  const first = chooseSubnet(['10.5.0.0/22'], 24, []);
  const taken = ['10.5.1.0/24', '10.5.2.0/24', '10.5.3.0/24'].map((text) => parseBlock(text, ''));

  expect(formatBlock(first)).toBe('10.5.1.0/24');
  expect(formatBlock(chooseSubnet(['10.5.0.0/22'], 24, taken))).toBe('10.5.0.0/24');
});

test('an exhausted pool is named', () => {
  const taken = [parseBlock('10.5.0.0/23', '')];

  expect(() => chooseSubnet(['10.5.0.0/23'], 24, taken)).toThrow(/10\.5\.0\.0\/23 in subnets of \/24/);
});

test('the gateway is the first address unless it is given, and neither it nor the ends are handed out', () => {
  const pool = parsePool({ subnet: '10.9.0.0/24', gateway: '', ipRange: '' });
  const own = parsePool({ subnet: '10.9.0.0/24', gateway: '10.9.0.254', ipRange: '10.9.0.128/25' });

  expect(toIpamPool(pool)).toEqual({ subnet: '10.9.0.0/24', gateway: '10.9.0.1', ipRange: '' });
  expect(toIpamPool(own)).toEqual({ subnet: '10.9.0.0/24', gateway: '10.9.0.254', ipRange: '10.9.0.128/25' });
  const assignable = ['10.9.0.0', '10.9.0.1', '10.9.0.2', '10.9.0.255'].map((text) =>
    isAssignable(pool, parseAddress(text, '')),
  );
  expect(assignable).toEqual([false, false, true, false]);
});

test.each([
  [{ subnet: '10.9.0.1/24', gateway: '', ipRange: '' }, 'did you mean 10.9.0.0/24?'],
  [{ subnet: '10.9.0.0', gateway: '', ipRange: '' }, 'is not an IPv4 subnet'],
  [{ subnet: '10.9.0.0/31', gateway: '', ipRange: '' }, 'is too small'],
  [{ subnet: 'fd00::/64', gateway: '', ipRange: '' }, 'is not an IPv4 subnet'],
  [{ subnet: '10.9.0.0/24', gateway: '10.8.0.1', ipRange: '' }, 'no matching subnet for gateway 10.8.0.1'],
  [{ subnet: '10.9.0.0/24', gateway: '', ipRange: '10.9.1.0/25' }, 'no matching subnet for range'],
])('a pool that makes no sense is refused by name: %o', (pool, message) => {
  expect(() => parsePool(pool)).toThrow(message);
});
