import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { anExec, openRig, type Rig, readAll } from '../testing/rig.js';

// Needs a kernel with AppArmor switched on, as Debian's is: run by `npm run test:vm`.

const SECURITYFS = '/sys/kernel/security';
const policy = (name: string, denied: string) => `
profile ${name} flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal,
  ptrace,
  deny ${denied} rw,
}
`;
const load = (text: string) =>
  execFileSync('apparmor_parser', ['--skip-cache', '--replace'], { input: text });
const unload = (text: string) => execFileSync('apparmor_parser', ['--remove'], { input: text });

const OWN = policy('ts-test', '/own');
const DEFAULT = policy('docker-default', '/default');
let rig: Rig;

beforeAll(async () => {
  if (!existsSync(`${SECURITYFS}/apparmor`))
    execFileSync('mount', ['-t', 'securityfs', 'securityfs', SECURITYFS]);
  load(OWN);
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
  unload(OWN);
});

/** What confines its command, and which of two files it may write. */
const confined = (...securityOptions: string[]): Promise<string> =>
  rig.said(
    [
      'sh',
      '-c',
      'cat /proc/self/attr/current; for f in own default; do (echo > /$f) 2>/dev/null && echo $f; done; :',
    ],
    {},
    { host: { securityOptions } },
  );

test('a container is confined by the profile it names, and what is executed in it as well', async () => {
  expect(await confined('apparmor=ts-test')).toBe('ts-test (enforce)\ndefault\n');

  const container = await rig.create(
    ['sleep', '1000'],
    {},
    { host: { securityOptions: ['apparmor=ts-test'] } },
  );
  await container.start();
  const exec = await container.createExec(anExec(['cat', '/proc/self/attr/current']));
  const streams = await exec.start({ stdout: true, stderr: true });
  expect((await readAll(streams!)).stdout).toBe('ts-test (enforce)\n');
  await container.stop(0);
  await container.remove();
});

test("Docker's default profile is in force once somebody has loaded it, but for who asks for none", async () => {
  expect(await confined()).toBe('unconfined\nown\ndefault\n');
  load(DEFAULT);
  try {
    expect(await confined()).toBe('docker-default (enforce)\nown\n');
    expect(await confined('apparmor=unconfined')).toBe('unconfined\nown\ndefault\n');
  } finally {
    unload(DEFAULT);
  }
});

test('a profile that is not loaded is refused by its name', async () => {
  await expect(confined('apparmor=nobody-loaded-it')).rejects.toThrow(
    'unable to apply apparmor profile: apparmor failed to apply profile nobody-loaded-it',
  );
});
