import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRig, type Rig } from './testing/rig.js';

let rig: Rig;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
});

test('a command runs in a container, and what it writes is logged by stream', async () => {
  const result = await rig.run(rig.task(['sh', '-c', 'echo out; echo err >&2; exit 3']));

  expect(result).toEqual({ exitCode: 3, oomKilled: false, stdout: 'out\n', stderr: 'err\n' });
});
