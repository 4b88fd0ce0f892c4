import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { socketGroupId } from './index.js';

const dir = mkdtempSync(join(tmpdir(), 'ts-group-'));
const file = join(dir, 'group');
writeFileSync(file, 'root:x:0:\nstaff:x:50:ann\nbroken\nodd:x:x:\nempty:x::\nhuge:x:4294967296:\n');
afterAll(() => rmSync(dir, { recursive: true }));

test('a group is found by its name, or is a number', () => {
  expect(socketGroupId('staff', file)).toBe(50);
  expect(socketGroupId('root', file)).toBe(0);
  expect(socketGroupId('4711', file)).toBe(4711);
  expect(socketGroupId('', file)).toBeUndefined();
});

test('the default group need not be there, any other must', () => {
  expect(socketGroupId('docker', file)).toBeUndefined();
  expect(socketGroupId('docker', join(dir, 'none'))).toBeUndefined();
  for (const name of ['nobody-here', 'broken', 'odd', 'empty', 'huge', '4294967296'])
    expect(() => socketGroupId(name, file)).toThrow(`--socket-group: there is no group ${name} on this host`);
});
