import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chooseNatSubnet, findDroppingChains, NatAddresses } from './nat-plan.js';
import { contains, formatIpv4, formatSubnet, macOf, overlaps, parseIpv4, parseSubnet } from './subnets.js';

const address = fc.nat(0xffffffff).map(formatIpv4);

test('an address survives parsing and formatting', () => {
  fc.assert(
    fc.property(address, (text) => {
      expect(formatIpv4(parseIpv4(text))).toBe(text);
    }),
  );
});

test('two subnets overlap exactly when one contains the other’s first address', () => {
  const subnet = fc
    .tuple(address, fc.integer({ min: 0, max: 32 }))
    .map(([base, prefix]) => parseSubnet(`${base}/${prefix}`));
  fc.assert(
    fc.property(subnet, subnet, (a, b) => {
      const either = contains(a, formatIpv4(b.base)) || contains(b, formatIpv4(a.base));
      expect(overlaps(a, b)).toBe(either);
    }),
  );
});

test('what is no address is refused by name', () => {
  expect(() => parseIpv4('10.0.0')).toThrow("'10.0.0' is not an IPv4 address");
  expect(() => parseIpv4('10.0.0.256')).toThrow();
  expect(() => parseSubnet('10.0.0.0/33')).toThrow("'10.0.0.0/33' has no prefix length");
});

test('a MAC is made of the four bytes of its address', () => {
  expect(macOf('10.0.1.255')).toBe('02:42:0a:00:01:ff');
});

test('the NAT bridge keeps clear of every range in use', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(address, fc.integer({ min: 8, max: 32 }))), (used) => {
      const cidrs = used.map(([base, prefix]) => `${base}/${prefix}`);
      const chosen = chooseNatSubnet(cidrs);
      for (const cidr of cidrs) expect(chosen && overlaps(chosen, parseSubnet(cidr))).toBeFalsy();
    }),
  );
  expect(formatSubnet(chooseNatSubnet(['172.18.0.0/16', '172.19.4.0/24'])!)).toBe('172.20.0.0/20');
  expect(chooseNatSubnet(['0.0.0.0/0'])).toBeUndefined();
});

test('addresses of the NAT bridge are handed out once, and not again at once', () => {
  const addresses = new NatAddresses(parseSubnet('172.18.0.0/29'));
  addresses.claim('old', '172.18.0.3');

  expect(['a', 'b', 'c', 'd', 'e'].map((id) => addresses.take(id))).toEqual([
    '172.18.0.2',
    '172.18.0.4',
    '172.18.0.5',
    '172.18.0.6',
    undefined,
  ]);
  expect(addresses.take('a')).toBe('172.18.0.2');
  addresses.release('b');
  addresses.release('old');
  expect(addresses.take('e')).toBe('172.18.0.3');
});

test('foreign chains that drop forwarded packets are found, bridges’ own left out', () => {
  const listing = [
    { chain: { family: 'ip', table: 'filter', name: 'FORWARD', hook: 'forward', policy: 'drop' } },
    { chain: { family: 'ip', table: 'filter', name: 'DOCKER-USER' } },
    {
      chain: {
        family: 'inet',
        table: 'firewalld',
        name: 'filter_FORWARD',
        hook: 'forward',
        policy: 'accept',
      },
    },
    { chain: { family: 'bridge', table: 'x', name: 'forward', hook: 'forward', policy: 'drop' } },
  ];

  expect(findDroppingChains(listing)).toEqual({
    dropping: [{ family: 'ip', table: 'filter', chain: 'FORWARD' }],
    hasDockerUser: true,
  });
});
