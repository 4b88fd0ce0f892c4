import { aNode, aNodeStatus } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { parseExpression } from './expression.js';
import { meetsExpression } from './node-facts.js';

// From the stand-alone Swarm's documentation and tests: what was understood there is understood here.

test.each([
  ['node==host1', ['host1'], true],
  ['node==host1', ['host10'], false],
  ['node!=host1', ['host2', 'host1'], false],
  ['node==host*', ['host10'], true],
  ['node==*st*0', ['host10'], true],
  ['node==ab*ba', ['aba'], false],
  ['node==h.st1', ['host1'], false],
  ['node==/ost\\d/', ['host1'], true],
  ['node==/^ost/', ['host1'], false],
  ['node==/(?i)HOST/', ['host1'], true],
  ['node!=/host[12]/', ['host3'], true],
  ['storage==~ssd', ['disk'], false],
  ['storage!=~ssd', [''], true],
  ['container!=web', [], true],
  ['container==*', [], false],
])('%s of %j: %s', (text, values, isMet) => {
  expect(parseExpression(text).matches(values)).toBe(isMet);
});

test('a tilde makes an expression soft, whichever its operator', () => {
  expect(parseExpression('a1==~b').isSoft).toBe(true);
  expect(parseExpression('a1!=~/b/')).toMatchObject({ isSoft: true, key: 'a1', operator: '!=' });
  expect(parseExpression('a1==b').isSoft).toBe(false);
});

test.each([
  ['storage', "One of operator ==, != is expected in 'storage'"],
  ['storage=ssd', 'One of operator'],
  ['a b==c', "Key 'a b' is invalid"],
  ['==c', "Key '' is invalid"],
  ['storage==', "Value '' is invalid"],
  ['storage==~', "Value '~' is invalid"],
  ['storage==/(/', "Value '/(/' is invalid: "],
  ['storage==a;b', "Value 'a;b' is invalid"],
])('%s is refused', (text, message) => {
  expect(() => parseExpression(text)).toThrow(message);
});

test('an expression that would keep a backtracking engine busy for ever is answered at once', () => {
  const evil = parseExpression('node==/(a+)+$/');

  expect(evil.matches([`${'a'.repeat(5_000)}!`])).toBe(false);
});

test('a node is known by its name and id, by its engine and by labels, in any case of the key', () => {
  const node = aNode({ id: 'n1', name: 'host1', labels: { zone: 'b', Rack: '7' } });
  const description = {
    ...aNodeStatus().description!,
    hostname: 'host1',
    kernel: '6.1.0',
    operatingSystem: 'Debian GNU/Linux 12 (bookworm)',
    engineLabels: { storage: 'ssd' },
  };
  const status = aNodeStatus({ nodeId: 'n1', description });
  const meets = (text: string) => meetsExpression(parseExpression(text), node, status);

  const met = ['node==host1', 'node==n1', 'storagedriver==overlay*', 'kernelversion==/^6\\./'];
  const alsoMet = ['operatingsystem==*Debian*', 'storage==ssd', 'zone==b', 'rack==7', 'none!=x'];
  const swarmMode = [
    'node.labels.zone==b',
    'node.hostname==host*',
    'engine.labels.storage==ssd',
    'node.role==worker',
  ];
  for (const text of [...met, ...alsoMet, ...swarmMode]) expect([text, meets(text)]).toEqual([text, true]);
  for (const text of ['node==host2', 'storage==disk', 'none==x', 'zone!=b'])
    expect([text, meets(text)]).toEqual([text, false]);
});
