import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { LabCluster } from '../lab/cluster.js';
import { must } from '../lab/command.js';
import { Lab } from '../lab/lab.js';
import { Terminal } from '../lab/terminal.js';
import { waitFor } from '../lab/wait.js';

// A person at a real terminal, with the docker client and containers on other hosts.

let lab: Lab;
let cluster: LabCluster;
let terminal: Terminal;

beforeAll(async () => {
  lab = await Lab.up({ name: `tt${process.pid}` });
  cluster = await LabCluster.form(lab);
});
afterAll(() => lab?.down());
beforeEach(async () => {
  terminal = await Terminal.open({ DOCKER_HOST: `unix://${cluster.manager.socket}` });
});
afterEach(() => terminal?.close());

const docker = async (...words: string[]) =>
  (
    await must(['docker', '-H', `unix://${cluster.manager.socket}`, ...words], { timeoutMs: 60_000 })
  ).trimEnd();
const status = (name: string) => docker('inspect', '-f', '{{.State.Status}} {{.State.ExitCode}}', name);
/** A shell whose prompt is not that of the terminal's own. */
const SHELL = 'sh -c \'PS1="in-it> " exec sh\'';
/** What the line before the prompt says, once it is back. */
const code = async () => {
  await terminal.ready();
  await terminal.enter('echo "code $?"');
  return /code (\d+)/.exec(await terminal.sees(/^code \d+/m))?.[1];
};

test('docker run -it on another host: keys, sizes, Ctrl-C for the program, Ctrl-D for the end', async () => {
  await terminal.enter(`docker run -it --rm --name shell -e constraint:node==host2 busybox ${SHELL}`);
  // Typed before there is anybody to read it. Its client says the size once it runs.
  await terminal.enter('until stty size | grep 24; do sleep 0.05; done');
  await terminal.sees(/^24 80$/m);
  // The new size comes by itself, once docker's client listens for changes: it does so only after it has said the first.
  await waitFor('the size to come through', async () => {
    await terminal.resize(132, 42);
    await terminal.resize(132, 43);
    await terminal.enter('stty size');
    return /^43 132$/m.test(await terminal.screen());
  });
  // A key that comes while the shell still reads a line is no signal.
  await terminal.enter('echo begun; sleep 1000');
  await terminal.sees(/^begun$/m);
  await terminal.press('C-c');
  await terminal.enter('echo "ended by $?"');
  await terminal.sees('ended by 130');
  await terminal.enter('(exit 9)');
  await terminal.press('C-d');

  expect(await code()).toBe('9');
  await waitFor('it to be gone', async () => (await docker('ps', '-aq')) === '');
});

test('the keys that detach leave it running, the shell finds it again, and execs beside it have sizes of their own', async () => {
  await terminal.enter(`docker run -it --name kept -e constraint:node==host3 busybox ${SHELL}`);
  await terminal.sees(/^in-it>/m);
  await terminal.enter('kept=yes');
  // With its prompt the shell asks the terminal where the cursor is, and the answer must not come between the keys.
  await terminal.sees(/kept=yes\nin-it>\s*$/);
  // The first of the keys alone is for the program.
  await terminal.press('C-p');
  await terminal.press('C-q');
  await terminal.ready();
  expect(await status('kept')).toBe('running 0');
  await terminal.clear();

  await terminal.enter('docker attach --detach-keys ctrl-x,x kept');
  await terminal.press('Enter');
  await terminal.sees(/^in-it>/m);
  await terminal.enter('echo "still $kept"');
  await terminal.sees(/^still yes\nin-it>\s*$/m);
  await terminal.press('C-x');
  await terminal.type('x');
  await terminal.sees(/read escape sequence\n.*prompt>/);
  expect(await status('kept')).toBe('running 0');
  await terminal.clear();

  await terminal.resize(100, 30);
  await terminal.enter(`docker exec -it kept ${SHELL}`);
  await terminal.sees(/^in-it>/m);
  await terminal.enter('stty size; tty; exit 4');
  await terminal.sees(/^30 100\n\/dev\/pts\/1$/m);
  expect(await code()).toBe('4');
  await terminal.clear();

  await docker('stop', '-t', '0', 'kept');
  await terminal.enter('docker start -ai kept');
  await terminal.press('Enter');
  await terminal.sees(/^in-it>/m);
  await terminal.enter('exit 7');
  expect(await code()).toBe('7');
  await docker('rm', 'kept');
});

test('programs that fill the screen: vi writes a file, less pages, top counts and ends by a key', async () => {
  await terminal.enter(`docker run -it --name editor -e constraint:node==host2 busybox ${SHELL}`);
  await terminal.sees(/^in-it>/m);
  await terminal.enter('vi /tmp/note');
  await terminal.sees(/^~$/m);
  await terminal.type('iwritten in vi');
  // The status line says so too while it is being written, and not before.
  await terminal.sees(/^written in vi$/m);
  await terminal.sees(/^I \/tmp\/note/m);
  await terminal.press('Escape');
  // What follows an escape at once is read as part of it: its status line says when vi has taken it.
  await terminal.sees(/^- \/tmp\/note/m);
  await terminal.enter(':wq');
  await terminal.sees(/^in-it>/m);
  await terminal.enter('cat /tmp/note');
  await terminal.sees(/^written in vi$/m);

  await terminal.enter('seq 1000 | less');
  await terminal.sees(/^1\n2\n3$/m);
  await terminal.type('G');
  await terminal.sees(/^999\n1000$/m);
  await terminal.type('q');
  await terminal.enter('top');
  await terminal.sees(/Mem:.* used/);
  await terminal.resize(100, 40);
  await terminal.sees(/PID +PPID/);
  await terminal.type('q');
  await terminal.enter('exit 3');
  expect(await code()).toBe('3');
  await docker('rm', 'editor');
});

test('Ctrl-C goes to the container, by its client unless that is told not to pass signals on', async () => {
  const program = `sh -c 'trap "echo caught; exit 5" INT; echo waiting; while :; do sleep 0.1; done'`;
  await terminal.enter(`docker run --name caught -e constraint:node==host2 busybox ${program}`);
  await terminal.sees(/^waiting$/m);
  await terminal.press('C-c');
  await terminal.sees(/caught$/m);
  expect(await code()).toBe('5');
  await docker('rm', 'caught');
  await terminal.clear();

  await docker('run', '-d', '--name', 'spared', 'busybox', 'sleep', '1000');
  await terminal.enter('docker attach --sig-proxy=false spared');
  await terminal.press('C-c');
  expect(await code()).not.toBe('0');
  expect(await status('spared')).toBe('running 0');
  await docker('rm', '-f', 'spared');
});
