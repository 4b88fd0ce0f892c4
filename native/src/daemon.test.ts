import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { spawnDaemon } from './daemon.js';

let dir: string;
let output: number;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tessera-daemon-'));
  output = openSync(join(dir, 'output'), 'a');
});
afterEach(() => {
  closeSync(output);
  rmSync(dir, { recursive: true });
});

const outputText = () => readFileSync(join(dir, 'output'), 'utf8');
const run = (script: string, env = {}) =>
  spawnDaemon({ path: '/bin/sh', args: ['-c', script], env, outputFd: output });

test('a daemon leads a session of its own and inherits three descriptors and nothing else', async () => {
  const pid = run(
    'echo session $(cut -d" " -f6 /proc/$$/stat); ls /proc/$$/fd | tr "\\n" " "; echo; echo end >&2',
    {
      PATH: '/bin:/usr/bin',
    },
  );

  await vi.waitFor(() => expect(outputText()).toContain('end'), { timeout: 10_000 });
  const [session, descriptors] = outputText().split('\n');
  expect(session).toBe(`session ${pid}`);
  expect(descriptors?.trim()).toBe('0 1 2');
});

test('it gets the environment given, and no signal stays ignored', async () => {
  run('echo "[$A]"; grep SigIgn /proc/$$/status', { A: 'b c', UNSET: undefined, PATH: '/bin:/usr/bin' });

  await vi.waitFor(() => expect(outputText()).toContain('SigIgn'), { timeout: 10_000 });
  const [variable, ignored] = outputText().split('\n');
  expect(variable).toBe('[b c]');
  // 32 and 33 are the C library's own, which nobody can set.
  const ownSignals = 0x180000000n;
  expect(BigInt(`0x${ignored?.split('\t')[1]}`) & ~ownSignals).toBe(0n);
});

test('its zombie is taken when it ends', async () => {
  const pid = run('exit 3');

  await vi.waitFor(() => expect(() => readFileSync(`/proc/${pid}/stat`)).toThrow('ENOENT'), {
    timeout: 10_000,
  });
});

test('a program that is not there is named', () => {
  expect(() => spawnDaemon({ path: '/no/such', args: [], env: {}, outputFd: output })).toThrow(
    'starting /no/such: ENOENT',
  );
});
