import { existsSync } from 'node:fs';
import { delay, systemClock } from '@tessera/shared/env';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openRig, type Rig, readAll, readLog } from './testing/rig.js';

let rig: Rig;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
});

test('what is attached before the start misses nothing, and ends with the container', async () => {
  const container = await rig.create(['sh', '-c', 'echo out; echo err >&2; exit 3']);
  const streams = await container.attach();
  await container.start();

  expect(await readAll(streams)).toEqual({ stdout: 'out\n', stderr: 'err\n' });
  expect(await container.exit()).toMatchObject({ exitCode: 3 });
  await container.remove();
});

test('the end of input is passed on, and output goes on after it', async () => {
  const container = await rig.create(
    ['sh', '-c', 'cat > /taken; echo done'],
    { openStdin: true },
    { stdinOnce: true },
  );
  const streams = await container.attach();
  await container.start();
  await streams.write(Buffer.from('some input'));
  await streams.endInput();

  expect(await readAll(streams)).toEqual({ stdout: 'done\n', stderr: '' });
  await container.remove();
});

test('input arrives whole and in order, and waits for a slow program', async () => {
  const container = await rig.create(
    ['sh', '-c', 'while [ ! -e /go ]; do sleep 0.02; done; cat'],
    { openStdin: true },
    { stdinOnce: true },
  );
  const streams = await container.attach({ wait: true });
  await container.start();
  const input = Buffer.alloc(3_000_000, '0123456789abcdef');
  let taken = false;
  const written = streams.write(input).then(async () => {
    taken = true;
    await streams.endInput();
  });
  // A pipe's 64 KiB and what may be on its way: far from all of it.
  await delay(systemClock, 100);
  expect(taken).toBe(false);
  const go = await container.createExec({
    args: ['touch', '/go'],
    env: [],
    user: '',
    workingDir: '',
    privileged: false,
    tty: false,
    stdin: false,
  });
  await go.start(undefined);
  const output = await readAll(streams);
  await written;

  expect(output.stdout.length).toBe(input.length);
  expect(output.stdout === input.toString()).toBe(true);
  await container.remove();
});

test('a lost connection does not close stdin; another one goes on', async () => {
  const container = await rig.create(['sh', '-c', 'read a; read b; echo "$a $b"; cat; echo over'], {
    openStdin: true,
  });
  await container.start();
  const first = await container.attach();
  await first.write(Buffer.from('one\n'));
  first.close();
  const second = await container.attach();
  await second.write(Buffer.from('two\n'));
  // It is kept open for others, since it was not opened for one client alone.
  await second.endInput();
  await second.write(Buffer.from('three\n'));
  const output = await readAll(second, ({ stdout }) => stdout.endsWith('three\n'));

  expect(output.stdout).toBe('one two\nthree\n');
  expect(container.isRunning).toBe(true);
  await container.remove();
});

test('without an open stdin there is nothing to write to', async () => {
  const container = await rig.create(['sh', '-c', 'cat; sleep 1000']);
  await container.start();
  const streams = await container.attach();

  await expect(
    (async () => {
      for (;;) {
        await streams.write(Buffer.from('x'));
        await delay(systemClock, 1);
      }
    })(),
  ).rejects.toMatchObject({ kind: 'failedPrecondition' });
  streams.close();
  await container.remove();
});

test('history and what comes live join without loss or doubling, in the middle of a line too', async () => {
  const container = await rig.create(
    [
      'sh',
      '-c',
      // Its end waits until others have come, however late.
      'i=0; while [ $i -lt 3000 ]; do printf "%s" "$i"; printf ",\n"; i=$((i+1)); done; read go; printf end',
    ],
    { openStdin: true },
  );
  await container.start();
  const first = await container.attach({ history: true });
  const readers = [readAll(first)];
  while (readers.length < 24) {
    readers.push(readAll(await container.attach({ history: true })));
    await delay(systemClock, 3);
  }
  await first.write(Buffer.from('\n'));
  const outputs = await Promise.all(readers);
  const expected = `${Array.from({ length: 3000 }, (_, i) => `${i},\n`).join('')}end`;

  for (const { stdout } of outputs) expect(stdout === expected).toBe(true);
  await container.remove();
});

test('100 MB reach whoever the container waits for; a reader that does not read is detached, and harms nobody', async () => {
  const size = 100_000_000;
  const container = await rig.create(['sh', '-c', `yes 0123456789abcde | head -c ${size}; exit 5`]);
  const whole = await container.attach({ wait: true });
  const slow = await container.attach();
  await container.start();
  let received = 0;
  let wrong = 0;
  const pattern = Buffer.alloc(1 << 20, '0123456789abcde\n');
  for await (const { bytes } of whole) {
    const at = received % 16;
    if (Buffer.compare(bytes, pattern.subarray(at, at + bytes.length)) !== 0) wrong++;
    received += bytes.length;
  }

  expect({ received, wrong }).toEqual({ received: size, wrong: 0 });
  expect(await container.exit()).toMatchObject({ exitCode: 5 });
  await expect(readAll(slow)).rejects.toMatchObject({ kind: 'resourceExhausted' });
  await container.remove();
});

test('a container never waits for a reader that did not ask for it', async () => {
  const container = await rig.create(['sh', '-c', 'yes | head -c 20000000; echo finished >&2']);
  const slow = await container.attach();
  await container.start();

  expect(await container.exit()).toMatchObject({ exitCode: 0 });
  expect(readLog(`${rig.options.dataDir}/containers/${container.id}`).stderr).toBe('finished\n');
  slow.close();
  await container.remove();
});

test('what a reader is too slow for it finds in the log, byte for byte, when all is over too', async () => {
  const size = 12_000_001;
  const container = await rig.create(['sh', '-c', `yes 0123456789abcde | head -c ${size}; echo err >&2`]);
  const slow = await container.attach();
  await container.start();
  await container.exit();
  const { stdout, stderr } = await readAll(slow);

  expect({ size: stdout.length, stderr }).toEqual({ size, stderr: 'err\n' });
  expect(stdout === '0123456789abcde\n'.repeat(size / 16 + 1).slice(0, size)).toBe(true);
  await container.remove();
});

test('a reader that was too slow catches up with what runs, in the middle of a line, and its input still arrives', async () => {
  const size = 5_000_000;
  const container = await rig.create(
    [
      'sh',
      '-c',
      `yes 0123456789abcde | head -c ${size}; touch /written; printf 'go on? '; read a; echo "$a it is"`,
    ],
    { openStdin: true },
  );
  const streams = await container.attach();
  await container.start();
  const written = `${rig.options.dataDir}/containers/${container.id}/upper/written`;
  await expect.poll(() => existsSync(written), { timeout: 20_000 }).toBe(true);
  const output = await readAll(streams, ({ stdout }) => {
    if (stdout.endsWith('go on? ')) void streams.write(Buffer.from('yes\n'));
    return false;
  });

  expect(output.stdout.length).toBe(size + 'go on? yes it is\n'.length);
  expect(output.stdout.slice(size)).toBe('go on? yes it is\n');
  await container.remove();
});

test('a container that waits for its reader loses its patience with one that takes nothing, which loses nothing', async () => {
  const size = 12_000_000;
  const container = await rig.create(['sh', '-c', `yes 0123456789abcde | head -c ${size}`]);
  const stalled = await container.attach({ wait: true, patienceMs: 300 });
  await container.start();

  expect(await container.exit()).toMatchObject({ exitCode: 0 });
  expect((await readAll(stalled)).stdout.length).toBe(size);
  await container.remove();
});

test('a container that waits for its reader goes on when that reader goes', async () => {
  const container = await rig.create(['sh', '-c', 'yes | head -c 20000000']);
  const streams = await container.attach({ wait: true });
  await container.start();
  // Full: the pipe, the shim's queue, the socket, and ours.
  await delay(systemClock, 200);
  expect(container.isRunning).toBe(true);
  streams.close();

  expect(await container.exit()).toMatchObject({ exitCode: 0 });
  await container.remove();
});

test('what is attached to a container that cannot start, or is removed, ends', async () => {
  const broken = await rig.create(['/no/such/program']);
  const first = await broken.attach();
  await expect(broken.start()).rejects.toMatchObject({ exitCode: 127 });
  const removed = await rig.create(['true']);
  const second = await removed.attach();
  await removed.remove();

  expect(await readAll(first)).toEqual({ stdout: '', stderr: '' });
  expect(await readAll(second)).toEqual({ stdout: '', stderr: '' });
  await broken.remove();
});

test('the log of a container that runs again goes on', async () => {
  const container = await rig.create(['sh', '-c', 'echo run >> /runs; wc -l < /runs']);
  for (let run = 0; run < 3; run++) {
    const streams = await container.attach({ history: true });
    await container.start();
    const { stdout } = await readAll(streams);
    expect(stdout).toBe(['1\n', '2\n', '3\n'].slice(0, run + 1).join(''));
    await container.exit();
  }
  await container.remove();
});
