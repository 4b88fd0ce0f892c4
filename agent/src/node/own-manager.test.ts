import { expect, test } from 'vitest';
import { dialledAt, ownManager } from './own-manager.js';

const own = (listenAddr: string) =>
  ownManager({ role: 'manager' }, { listenAddr, advertiseAddr: '203.0.113.7:7000' });

test.each([
  ['0.0.0.0:2377', '127.0.0.1:2377'],
  ['[::]:2377', '[::1]:2377'],
  ['10.0.0.5:99', '10.0.0.5:99'],
])("a node's own manager is dialled where it listens: %s", (listenAddr, expected) => {
  expect(dialledAt(own(listenAddr), '203.0.113.7:7000')).toBe(expected);
});

test('other managers are dialled where the cluster knows them', () => {
  expect(dialledAt(own('0.0.0.0:2377'), '10.0.0.6:2377')).toBe('10.0.0.6:2377');
  expect(
    ownManager({ role: 'worker' }, { listenAddr: '0.0.0.0:2377', advertiseAddr: '10.0.0.5:2377' }),
  ).toBeUndefined();
});
