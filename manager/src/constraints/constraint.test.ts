import { aNode, aNodeStatus } from '@tessera/shared/testing';
import { expect, test } from 'vitest';
import { CONSTRAINT_KEYS, isConstraintKey, meetsConstraints, parseConstraints } from './constraint.js';

const node = aNode({ id: 'node-1', name: 'host1', role: 'worker', labels: { zone: 'a', Disk: 'ssd' } });
const status = aNodeStatus({ nodeId: 'node-1', addr: '10.0.0.1' });
const meets = (...expressions: string[]) => meetsConstraints(parseConstraints(expressions), node, status);

test('a constraint is a key, an operator and a value, with or without spaces', () => {
  expect(parseConstraints(['node.labels.zone==a', ' node.hostname != host 2 '])).toEqual([
    { key: 'node.labels.zone', operator: '==', value: 'a' },
    { key: 'node.hostname', operator: '!=', value: 'host 2' },
  ]);
});

test.each([
  ['node.labels.zone', 'constraint expected one operator from ==, !='],
  ['node.labels.zone=a', 'constraint expected one operator from ==, !='],
  ['==a', "key '' is invalid"],
  ['1zone==a', "key '1zone' is invalid"],
  ['zone==', "value '' is invalid"],
  ['zone==a~b', "value 'a~b' is invalid"],
])('what cannot be read is refused in the words of Swarm: %s', (expression, message) => {
  expect(() => parseConstraints([expression])).toThrow(message);
});

test.each([
  ['node.id==node-1', true],
  ['node.id!=node-1', false],
  ['node.hostname==HOST1', true],
  ['node.role==worker', true],
  ['node.role==manager', false],
  ['node.labels.zone==a', true],
  ['node.labels.zone!=b', true],
  ['NODE.LABELS.zone==a', true],
  ['node.labels.Zone==a', false],
  ['node.labels.rack!=x', true],
  ['node.labels.rack==x', false],
  ['node.platform.os==linux', true],
  ['node.platform.arch==amd64', true],
  ['node.platform.arch==x86_64', true],
  ['node.platform.arch!=amd64', false],
  ['node.ip==10.0.0.0/8', true],
  ['node.ip==192.168.0.0/16', false],
  ['node.ip!=10.0.0.1', false],
  ['engine.labels.storage!=slow', true],
  ['node.colour==blue', false],
  ['node.colour!=blue', false],
])('a node with zone a and address 10.0.0.1 is judged by %s: %s', (expression, expected) => {
  expect(meets(expression)).toBe(expected);
});

test('each key that can be asked for is one that some node meets', () => {
  const values: Record<string, string> = {
    'node.id': 'node-1',
    'node.hostname': 'host1',
    'node.role': 'worker',
    'node.platform.os': 'linux',
    'node.platform.arch': 'amd64',
    'node.ip': '10.0.0.1',
  };
  for (const key of CONSTRAINT_KEYS.filter((known) => !known.endsWith('.'))) {
    expect(isConstraintKey(key), key).toBe(true);
    expect(meets(`${key}==${values[key]}`), key).toBe(true);
  }
  expect(isConstraintKey('Node.Labels.zone')).toBe(true);
  expect(isConstraintKey('engine.labels.storage')).toBe(true);
});

test.each([
  'node.bar',
  'node.labels.',
  'node.labels',
  'engine.labels.',
  'node.role.x',
  'nodes.id',
  'hostname',
])('no node can meet %s', (key) => {
  expect(isConstraintKey(key)).toBe(false);
});

test('every constraint must hold', () => {
  expect(meets('node.labels.zone==a', 'node.labels.Disk==ssd')).toBe(true);
  expect(meets('node.labels.zone==a', 'node.labels.Disk==hdd')).toBe(false);
});
