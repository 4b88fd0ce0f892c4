import { afterAll, beforeAll, expect, test } from 'vitest';
import type { AttachedClient } from '../attachment.js';
import { openRig, type Rig, readAll, readLog } from './testing/rig.js';

let rig: Rig;
beforeAll(async () => {
  rig = await openRig();
});
afterAll(async () => {
  await rig.close();
});

/** Reads on until the output holds `text`; what was read before is not given again. */
function reader(streams: AttachedClient) {
  const iterator = streams[Symbol.asyncIterator]();
  let output = '';
  return async (text: string): Promise<string> => {
    while (!output.includes(text)) {
      const { done, value } = await iterator.next();
      if (done)
        throw new Error(`the output ended without ${JSON.stringify(text)}: ${JSON.stringify(output)}`);
      output += Buffer.from(value.bytes).toString();
    }
    const read = output;
    output = '';
    return read;
  };
}

test('it has a terminal of its own, which is its console, and controls its session', async () => {
  const script = [
    'tty; ls -l /dev/console /dev/pts; stat -c %t:%T /dev/console',
    'stat -c "%u %g %a" $(tty); ps -o pid,sid,tty; echo $TERM; echo x > /dev/tty',
  ].join('; ');
  const container = await rig.create(['sh', '-c', script], { tty: true, user: 'app' });
  const streams = await container.attach();
  await container.start();
  const { stdout, stderr } = await readAll(streams);

  expect(stdout).toMatch(/^\/dev\/pts\/0\r\n/);
  expect(stdout).toMatch(/\r\n88:0\r\n1000 5 620\r\n/); // major 136 of pts; its user's, and the group tty's
  expect(stdout).toMatch(/\r\n\s*1\s+1 136,0\r\n/);
  expect(stdout).toMatch(/xterm\r\nx\r\n$/);
  expect(stderr).toBe('');
  await container.remove();
});

test('what is typed ahead of the start is there to be read, and so is what is typed later', async () => {
  const container = await rig.create(['sh', '-c', 'read a; echo "got $a"; read b; echo "and $b"'], {
    tty: true,
    openStdin: true,
  });
  const streams = await container.attach();
  const typed = streams.write(Buffer.from('early\n'));
  await container.start();
  await typed;
  const until = reader(streams);
  await until('got early\r\n');
  await streams.write(Buffer.from('late\n'));

  await until('and late\r\n');
  await container.remove();
});

test('its size is there before the command looks, and a new one is told by SIGWINCH', async () => {
  const container = await rig.create(
    ['sh', '-c', 'stty size; trap "stty size" WINCH; echo ready; while :; do sleep 0.02; done'],
    { tty: true },
  );
  await container.resize({ rows: 33, columns: 99 });
  const streams = await container.attach();
  await container.start();
  const until = reader(streams);
  expect(await until('ready\r\n')).toBe('33 99\r\nready\r\n');
  await container.resize({ rows: 50, columns: 132 });

  expect(await until('132\r\n')).toBe('50 132\r\n');
  streams.close();
  await container.remove();
});

test('what is typed is echoed, and Ctrl-C interrupts', async () => {
  const container = await rig.create(
    [
      'sh',
      '-c',
      'trap "echo interrupted; exit 3" INT; echo ready; while :; do read line; echo "got $line"; done',
    ],
    { tty: true, openStdin: true },
  );
  const streams = await container.attach();
  await container.start();
  const until = reader(streams);
  await until('ready\r\n');
  await streams.write(Buffer.from('hello\n'));
  expect(await until('got hello\r\n')).toBe('hello\r\ngot hello\r\n');
  await streams.write(Buffer.from('\x03'));

  expect(await until('interrupted\r\n')).toBe('^Cinterrupted\r\n');
  expect(await container.exit()).toMatchObject({ exitCode: 3 });
  await container.remove();
});

test('the terminal outlives a client that detaches, and keeps its size', async () => {
  const container = await rig.create(['sh', '-c', 'while read line; do stty size; done'], {
    tty: true,
    openStdin: true,
  });
  await container.start();
  await container.resize({ rows: 24, columns: 80 });
  for (let client = 0; client < 3; client++) {
    const streams = await container.attach();
    await streams.endInput(); // a terminal's stays open
    await streams.write(Buffer.from('\n'));
    expect(await reader(streams)('80\r\n')).toBe('\r\n24 80\r\n');
    streams.close();
  }
  expect(container.isRunning).toBe(true);
  await container.remove();
});

test('the last words of a terminal are never lost', async () => {
  for (let round = 0; round < 20; round++) {
    const container = await rig.create(['sh', '-c', 'seq 1 200; echo -n bye'], { tty: true });
    const streams = await container.attach({ wait: true });
    await container.start();
    const { stdout } = await readAll(streams);
    const log = readLog(`${rig.options.dataDir}/containers/${container.id}`);

    expect(stdout).toMatch(/^1\r\n2\r\n[^b]*200\r\nbye$/);
    expect(log).toEqual({ stdout: `${stdout}\n`, stderr: '' });
    await container.remove();
  }
});

test('one who hangs up everything does not end the terminal: it can be opened again', async () => {
  const container = await rig.create(
    ['sh', '-c', 'exec </dev/null >/dev/null 2>&1; sleep 0.1; echo again > /dev/console; sleep 0.1'],
    { tty: true },
  );
  const streams = await container.attach();
  await container.start();

  expect((await readAll(streams)).stdout).toBe('again\r\n');
  await container.remove();
});

test('a container without a terminal cannot be resized', async () => {
  const container = await rig.create(['sleep', '1000']);
  await container.start();

  await expect(container.resize({ rows: 1, columns: 1 })).rejects.toMatchObject({
    kind: 'failedPrecondition',
  });
  await container.remove();
});
