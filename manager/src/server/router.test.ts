import { describe, expect, test } from 'vitest';
import { parseTarget } from './api-server.js';
import { empty, route } from './route.js';
import { decoded, Router } from './router.js';

const router = new Router([
  route('GET', '/images/json', () => empty()),
  route('GET', '/images/:name/json', () => empty()),
  route('DELETE', '/images/:name', () => empty()),
  route('GET', '/services/:id', () => empty()),
  route('POST', '/services/create', () => empty()),
  route('GET', '/services/:id/logs', () => empty()),
]);

const find = (method: string, path: string) => {
  const found = router.find(method, path);
  return found.route ? [found.route.pattern, decoded(found.params)] : undefined;
};

describe('the router', () => {
  test('a parameter may hold slashes and ends where the suffix begins', () => {
    expect(find('GET', '/images/registry.example:5000/team/app:1/json')).toEqual([
      '/images/:name/json',
      { name: 'registry.example:5000/team/app:1' },
    ]);
    expect(find('DELETE', '/images/team/app')).toEqual(['/images/:name', { name: 'team/app' }]);
  });

  test('what has no parameter comes before what has one, a longer suffix before a shorter one', () => {
    expect(find('GET', '/images/json')).toEqual(['/images/json', {}]);
    expect(find('GET', '/services/web/logs')).toEqual(['/services/:id/logs', { id: 'web' }]);
    expect(find('GET', '/services/web')).toEqual(['/services/:id', { id: 'web' }]);
  });

  test('parameters are decoded once', () => {
    expect(find('GET', '/services/a%2520b')).toEqual(['/services/:id', { id: 'a%20b' }]);
  });

  test('an escape that is none is the fault of who asks', () => {
    expect(() => find('GET', '/services/100%')).toThrow('invalid URL escape in "100%"');
  });

  test('a path that exists for other methods only is none', () => {
    expect(find('PUT', '/services/create')).toBeUndefined();
    expect(find('GET', '/nothing')).toBeUndefined();
  });
});

describe('the version in a path', () => {
  test('is taken off, and none means the newest', () => {
    expect(parseTarget('/v1.24/services?status=true')).toMatchObject({ path: '/services', version: 124 });
    expect(parseTarget('/services')).toMatchObject({ path: '/services', version: 150 });
  });

  test('is refused in words when it is too old or too new', () => {
    expect(() => parseTarget('/v1.23/info')).toThrow(
      'client version 1.23 is too old. Minimum supported API version is 1.24',
    );
    expect(() => parseTarget('/v1.51/info')).toThrow(
      'client version 1.51 is too new. Maximum supported API version is 1.50',
    );
    expect(() => parseTarget('/v1.100/info')).toThrow('too new');
  });
});
