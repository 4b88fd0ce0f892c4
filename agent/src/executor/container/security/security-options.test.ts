import { expect, test } from 'vitest';
import { apparmorProfile } from './apparmor.js';
import { securityOptions } from './security-options.js';

const parse = (...options: string[]) => securityOptions(options);

test('options are read in both of Docker’s forms', () => {
  expect(parse()).toMatchObject({
    seccomp: 'builtin',
    apparmor: '',
    noNewPrivileges: false,
    systemPaths: true,
  });
  expect(parse('no-new-privileges').noNewPrivileges).toBe(true);
  expect(parse('no-new-privileges:true').noNewPrivileges).toBe(true);
  expect(parse('no-new-privileges=false').noNewPrivileges).toBe(false);
  expect(parse('seccomp:unconfined').seccomp).toBe('unconfined');
  expect(parse('seccomp={"defaultAction":"x:y=z"}').seccomp).toBe('{"defaultAction":"x:y=z"}');
  expect(parse('apparmor=mine').apparmor).toBe('mine');
  expect(parse('writable-cgroups=true').writableCgroups).toBe(true);
  expect(parse('systempaths=unconfined').systemPaths).toBe(false);
  expect(parse('label=type:svirt_t', 'label:disable', 'disable').labels).toEqual([
    'type:svirt_t',
    'disable',
    'disable',
  ]);
});

test.each(['no-new-privileges=perhaps', 'colour=blue', 'systempaths=confined'])('%s is refused', (option) => {
  expect(() => parse(option)).toThrow(`invalid --security-opt 2: "${option}"`);
});

test('a profile is named where the kernel has AppArmor: the user’s, else Docker’s default if it is loaded', () => {
  const on = { apparmor: true };
  const loaded = () => 'lsb_release (enforce)\ndocker-default (enforce)\n';
  expect(apparmorProfile('', false, on, loaded)).toBe('docker-default');
  expect(apparmorProfile('', false, on, () => 'docker-default-2 (enforce)\n')).toBe('');
  expect(apparmorProfile('', true, on, loaded)).toBe('unconfined');
  expect(apparmorProfile('mine', true, on, loaded)).toBe('mine');
  expect(apparmorProfile('mine', false, { apparmor: false }, loaded)).toBe('');
});
