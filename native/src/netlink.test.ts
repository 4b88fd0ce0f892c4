import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { NativeCallError } from './library.js';
import { changeNetwork, OWN_NETNS, openNetns } from './netlink.js';
import { dumpAddresses, dumpLinks } from './netlink-dump.js';
import { changeRules } from './nftables.js';

const NATIVE = fileURLToPath(new URL('..', import.meta.url));

test('what reads netlink messages is clean under the sanitizers', { timeout: 180_000 }, () => {
  execFileSync('make', ['-s', '-C', NATIVE, 'build/netlink-test'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });

  const output = execFileSync(`${NATIVE}build/netlink-test`, { encoding: 'utf8' });

  expect(output).toBe('netlink_test: ok\n');
});

test('the loopback is found by name, with its address', () => {
  const loopback = dumpLinks(OWN_NETNS).find(({ name }) => name === 'lo');

  expect(loopback).toMatchObject({ index: 1, mac: '00:00:00:00:00:00', master: undefined });
  expect(dumpAddresses(OWN_NETNS)).toContainEqual({ index: 1, address: '127.0.0.1', prefix: 8 });
});

test('a change that fails says which, and what of the kernel’s errors it was', () => {
  const missing = { kind: 'link-delete', name: 'no-such-link', netns: OWN_NETNS } as const;

  expect(() => changeNetwork([{ ...missing, tolerant: true }, missing])).toThrow(
    expect.objectContaining({ code: 'ENODEV', done: 1, message: 'delete link no-such-link: ENODEV' }),
  );
});

test('a name that is too long is refused before anything is changed', () => {
  const change = { kind: 'bridge', name: 'sixteen-letters-', netns: OWN_NETNS } as const;

  expect(() => changeNetwork([change])).toThrow(RangeError);
});

test('a file that is no namespace is not taken for one', () => {
  expect(() => openNetns('/dev/null')).toThrow(/is not a namespace/);
  expect(() => openNetns('/no/such/file')).toThrow(NativeCallError);
});

test('nftables’ own words are in the error', () => {
  expect(() => changeRules(OWN_NETNS, 'list table ip no-such-table')).toThrow(
    expect.objectContaining({ code: 'ENOENT' }),
  );
  expect(() => changeRules(OWN_NETNS, 'nonsense')).toThrow(/syntax error/);
});
