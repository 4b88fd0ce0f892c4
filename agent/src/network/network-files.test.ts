import { expect, test } from 'vitest';
import { networkFiles } from './network-files.js';

const spec = {
  hostname: 'web-1',
  attachments: [{ networkId: 'n', addr: '10.0.1.5/24', mac: '02:42:0a:00:01:05', aliases: [] }],
  extraHosts: ['192.0.2.7 db db.local'],
  dnsServers: [],
  dnsSearch: ['example.org'],
  dnsOptions: ['timeout:1'],
};

test('a container on a network asks the resolver at 127.0.0.11 and knows itself by its address', () => {
  const { resolvConf, hosts } = networkFiles(spec, ['192.0.2.53']);

  expect(resolvConf).toBe('nameserver 127.0.0.11\nsearch example.org\noptions ndots:0 timeout:1\n');
  expect(hosts).toContain('127.0.0.1\tlocalhost\n');
  expect(hosts).toContain('192.0.2.7\tdb db.local\n');
  expect(hosts).toContain('10.0.1.5\tweb-1\n');
});

test('a container on the bridge alone knows itself by its address there, with its domain', () => {
  const own = { ...spec, localAddress: '172.18.0.2/20', domainname: 'ex.org' };
  expect(networkFiles({ ...own, attachments: [] }, []).hosts).toContain('\n172.18.0.2\tweb-1.ex.org web-1\n');
  expect(networkFiles({ ...own, attachments: [], localAddress: '' }, []).hosts).toContain(
    '\n127.0.1.1\tweb-1.ex.org web-1\n',
  );
  expect(networkFiles(own, []).hosts).not.toContain('172.18.0.2');
});

test('"." as the only domain to search means none', () => {
  expect(networkFiles({ ...spec, dnsSearch: ['.'] }, []).resolvConf).not.toContain('search');
});

test('a user’s ndots stands', () => {
  expect(networkFiles({ ...spec, dnsOptions: ['ndots:2'] }, []).resolvConf).toContain('options ndots:2\n');
});

test('a container on no network asks the host’s resolvers, or the ones it was given', () => {
  const alone = { ...spec, attachments: [], dnsSearch: [], dnsOptions: [] };

  expect(networkFiles(alone, ['192.0.2.53']).resolvConf).toBe('nameserver 192.0.2.53\n');
  expect(networkFiles({ ...alone, dnsServers: ['9.9.9.9'] }, ['192.0.2.53']).resolvConf).toBe(
    'nameserver 9.9.9.9\n',
  );
  // The host's own are on its loopback.
  expect(networkFiles(alone, undefined).resolvConf).toContain('nameserver 127.0.0.11\n');
});

test('what would break out of a line is refused', () => {
  expect(() => networkFiles({ ...spec, dnsSearch: ['a\nnameserver 192.0.2.66'] }, [])).toThrow(/not a word/);
  expect(() => networkFiles({ ...spec, extraHosts: ['host-gateway h'] }, [])).toThrow(/no bridge yet/);
  expect(() => networkFiles({ ...spec, extraHosts: ['192.0.2.7'] }, [])).toThrow(/"ADDRESS NAME"/);
});

test('host-gateway is the address by which a container reaches its own host', () => {
  const { hosts } = networkFiles(
    { ...spec, extraHosts: ['host-gateway host.docker.internal'] },
    [],
    '172.18.0.1',
  );

  expect(hosts).toContain('172.18.0.1\thost.docker.internal\n');
});
