// What programs do with npm's dockerode, on the engine that DOCKER_HOST names, over TLS too. Prints "ok" when all held.
import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import Docker from 'dockerode';
import { pack } from 'tar-stream';

const docker = new Docker();
const NODE = ['constraint:node==host3'];

/** Both streams of what is multiplexed. */
async function demuxed(stream: NodeJS.ReadableStream): Promise<{ stdout: string; stderr: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.once('end', () => {
    out.end();
    err.end();
  });
  const [stdout, stderr] = await Promise.all([text(out), text(err)]);
  return { stdout, stderr };
}

async function runs(): Promise<void> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const written = Promise.all([text(out), text(err)]);
  const command = ['sh', '-c', 'echo hi; echo oh >&2; exit 3'];
  const [{ StatusCode }, container] = await docker.run('busybox', command, [out, err], {
    Tty: false,
    Env: NODE,
  });
  out.end();
  err.end();
  assert.equal(StatusCode, 3);
  assert.deepEqual(await written, ['hi\n', 'oh\n']);
  await container.remove();
}

/** Attached before its start, its input ended by half-closing, which a program in it outlives. */
async function attaches(): Promise<void> {
  const container = await docker.createContainer({
    Image: 'busybox',
    Cmd: ['sh', '-c', 'cat; sleep 0.2; echo done; echo bad >&2; exit 5'],
    OpenStdin: true,
    StdinOnce: true,
    Env: NODE,
  });
  const stream = await container.attach({
    stream: true,
    stdin: true,
    stdout: true,
    stderr: true,
    hijack: true,
  });
  const output = demuxed(stream);
  const waiting = container.wait({ condition: 'next-exit' });
  await container.start();
  stream.write('typed\n');
  stream.end();
  assert.deepEqual(await output, { stdout: 'typed\ndone\n', stderr: 'bad\n' });
  assert.equal((await waiting).StatusCode, 5);
  assert.equal((await container.inspect()).State.ExitCode, 5);
  await container.remove();
}

async function execs(container: Docker.Container): Promise<void> {
  const exec = await container.exec({
    Cmd: ['sh', '-c', 'cat; echo "$A"; pwd; exit 6'],
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    Env: ['A=b'],
    WorkingDir: '/tmp',
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const output = demuxed(stream);
  stream.write('in\n');
  stream.end();
  assert.deepEqual(await output, { stdout: 'in\nb\n/tmp\n', stderr: '' });
  const { ExitCode, Running } = await exec.inspect();
  assert.deepEqual({ ExitCode, Running }, { ExitCode: 6, Running: false });

  const terminal = await container.exec({ Cmd: ['tty'], Tty: true, AttachStdout: true });
  const plain = await terminal.start({ Tty: true, Detach: false });
  assert.match(await text(plain), /^\/dev\/pts\/\d+\r\n$/);
}

async function watches(container: Docker.Container): Promise<void> {
  const stats = await container.stats({ stream: false });
  assert.ok(stats.memory_stats.usage > 0 && stats.precpu_stats.cpu_usage.total_usage >= 0);
  const follow = (await container.logs({ follow: true, stdout: true, stderr: true })) as Readable;
  const first = await new Promise<Buffer>((resolve) => follow.once('data', resolve));
  assert.equal(first.subarray(8).toString().split('\n')[0], 'tick');
  follow.destroy();
  const past = (await container.logs({ stdout: true, tail: 1 })) as Buffer;
  assert.equal(past.subarray(8).toString(), 'tick\n');
  assert.ok((await container.top()).Processes.length >= 1);
}

async function events(): Promise<void> {
  const label = ['watched=dockerode'];
  const stream = (await docker.getEvents({ filters: { type: ['container'], label } })) as Readable;
  const container = await docker.createContainer({
    Image: 'busybox',
    Cmd: ['true'],
    Labels: { watched: 'dockerode' },
    HostConfig: { AutoRemove: true },
  });
  const removed = container.wait({ condition: 'removed' });
  await container.start();
  assert.equal((await removed).StatusCode, 0);
  let seen = '';
  for await (const chunk of stream) {
    seen += chunk;
    if (seen.includes('"destroy"')) break;
  }
  const actions = seen
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { Action: string }).Action);
  assert.deepEqual(actions, ['create', 'start', 'die', 'destroy']);
}

async function images(): Promise<void> {
  const image = docker.getImage('busybox');
  await image.tag({ repo: 'dockerode', tag: 'one' });
  const archive = await buffer(await docker.getImage('dockerode:one').get());
  await docker.getImage('dockerode:one').remove();
  const progress = (await docker.loadImage(Readable.from(archive) as never)) as NodeJS.ReadableStream;
  const said = await new Promise<{ stream?: string }[]>((resolve, reject) =>
    docker.modem.followProgress(progress, (error, lines) => (error ? reject(error) : resolve(lines))),
  );
  assert.ok(said.some((line) => line.stream?.includes('dockerode:one')));
  assert.equal((await docker.getImage('dockerode:one').inspect()).Id, (await image.inspect()).Id);
  await docker.getImage('dockerode:one').remove();
  await assert.rejects(docker.getImage('dockerode:one').inspect(), { statusCode: 404 });
}

async function archives(container: Docker.Container): Promise<void> {
  const archive = pack();
  archive.entry({ name: 'carried' }, 'there and back\n');
  archive.finalize();
  await container.putArchive(archive as unknown as NodeJS.ReadableStream, { path: '/tmp' });
  const back = await text(await container.getArchive({ path: '/tmp/carried' }));
  assert.ok(back.includes('there and back\n'));
}

assert.equal((await docker.ping()).toString(), 'OK');
await runs();
await attaches();
await events();
await images();
const ticking = await docker.createContainer({
  Image: 'busybox',
  Cmd: ['sh', '-c', 'while :; do echo tick; sleep 0.05; done'],
  Env: NODE,
});
try {
  await ticking.start();
  await execs(ticking);
  await watches(ticking);
  await archives(ticking);
  const waiting = ticking.wait();
  await ticking.kill();
  assert.equal((await waiting).StatusCode, 137);
} finally {
  await ticking.remove({ force: true });
}
console.log('ok');
