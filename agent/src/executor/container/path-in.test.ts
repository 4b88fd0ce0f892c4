import { expect, test } from 'vitest';
import { pathIn } from './path-in.js';

test.each([
  ['/etc/passwd', '/etc/passwd', false, 'passwd'],
  ['etc', '/etc', false, 'etc'],
  ['/etc/', '/etc', true, 'etc'],
  ['/etc/.', '/etc', true, '.'],
  ['/etc/./passwd', '/etc/passwd', false, 'passwd'],
  ['//a//b', '/a/b', false, 'b'],
  ['../../a/../b', '/b', false, 'b'],
  ['/a/..', '/', false, '/'],
  ['/', '/', true, '/'],
  ['', '/', true, '.'],
  ['.', '/', true, '.'],
  ['/.', '/', true, '.'],
])('%s in a container is %s', (raw, path, follow, name) => {
  expect(pathIn(raw)).toEqual({ path, follow, name });
});
