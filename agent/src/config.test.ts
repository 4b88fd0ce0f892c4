import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Config, helpText, parseConfig } from './config.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-config-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

function parse(args: string[], env: Record<string, string> = {}): Config {
  const parsed = parseConfig(args, env);
  if (parsed.kind !== 'run') throw new Error(parsed.kind);
  return parsed.config;
}
function file(content: string): string {
  const path = join(dir, 'tsd.json');
  writeFileSync(path, content);
  return path;
}

test('without anything said, the defaults hold', () => {
  expect(parse([])).toMatchObject({
    dataDir: '/var/lib/tessera',
    runDir: '/run/tessera',
    listenAddr: '0.0.0.0:2377',
    dataPathPort: 4789,
    cgroupParent: '/tessera',
    enterTimeoutMs: 120_000,
    logLevel: 'info',
    socketGroup: 'docker',
    etcdEndpoints: [],
  });
});

test('flags win over the environment, that over the file, and the file over defaults', () => {
  const path = file('{"hostname": "file", "log-level": "debug", "data-path-port": 5000}');
  const env = { TESSERA_CONFIG: path, TESSERA_HOSTNAME: 'environment', TESSERA_LOG_LEVEL: 'warn' };

  const config = parse(['--hostname', 'flag'], env);

  expect(config).toMatchObject({ hostname: 'flag', logLevel: 'warn', dataPathPort: 5000 });
});

test('registries are given as dockerd has it: again and again, or separated by commas', () => {
  const parsed = parseConfig(
    [
      '--insecure-registry',
      'a:5000',
      '--insecure-registry',
      '10.0.0.0/8',
      '--registry-mirror',
      'http://m,http://n',
    ],
    {},
  );

  expect(parsed).toMatchObject({
    config: { insecureRegistries: ['a:5000', '10.0.0.0/8'], registryMirrors: ['http://m', 'http://n'] },
  });
});

test('a bad value is refused with the name of where it came from', () => {
  expect(() => parse(['--enter-timeout', '0'])).toThrow('invalid --enter-timeout (0)');
  expect(() => parse(['--log-level', 'loud'])).toThrow('invalid --log-level (loud)');
  expect(() => parse([], { TESSERA_DATA_PATH_PORT: '70000' })).toThrow(
    'invalid TESSERA_DATA_PATH_PORT (70000)',
  );
  expect(() => parse(['--config', file('{"cgroup-parent": "x"}')])).toThrow(
    'invalid "cgroup-parent" in the configuration file (x)',
  );
  expect(() => parse(['--no-such'])).toThrow("Unknown option '--no-such'");
  expect(() => parse(['--config', file('{"colour": "red"}')])).toThrow('there is no setting "colour"');
  expect(() => parse(['--config', file('{')])).toThrow('configuration file');
});

test('a configuration cannot be changed once it is read', () => {
  expect(Object.isFrozen(parse([]))).toBe(true);
});

test('help names every flag', () => {
  for (const flag of ['--data-dir', '--capacity', '--etcd-endpoints', '--config'])
    expect(helpText()).toContain(flag);
});
