// What tests do with npm's testcontainers, on the host whose API DOCKER_HOST names. Prints the ids of what it leaves to
// the reaper when it is told to leave something.
import assert from 'node:assert/strict';
import { systemClock } from '@tessera/shared/env';
import { GenericContainer, getContainerRuntimeClient, Wait } from 'testcontainers';

/** Its ports are looked for on this host. */
const HERE = { 'constraint:node': `=${process.env.NODE_NAME}` };

// Its own sockets keep no process alive.
systemClock.after(100_000, () => process.exit(3));
const server = await new GenericContainer('busybox')
  .withCommand([
    'sh',
    '-c',
    'mkdir -p /site; echo page > /site/index.html; echo ready; exec httpd -f -p 8000 -h /site',
  ])
  .withEnvironment(HERE)
  .withExposedPorts(8000)
  .withWaitStrategy(Wait.forAll([Wait.forLogMessage('ready'), Wait.forListeningPorts()]))
  .start();
const reply = await fetch(`http://${server.getHost()}:${server.getMappedPort(8000)}/index.html`);
assert.equal(await reply.text(), 'page\n');
const { output, exitCode } = await server.exec(['sh', '-c', 'cat /site/index.html; exit 3']);
assert.deepEqual({ output, exitCode }, { output: 'page\n', exitCode: 3 });
let said = '';
for await (const chunk of await server.logs()) {
  said += chunk;
  if (said.includes('\n')) break;
}
assert.match(said, /^ready\n/);

if (process.argv.includes('--leave')) {
  // As a test that dies: nobody but the reaper removes what is there.
  console.log(server.getId());
  process.kill(process.pid, 'SIGKILL');
}
await server.restart();
await server.stop();
const { container } = await getContainerRuntimeClient();
const left = (await container.list()).filter(({ Id }) => Id === server.getId());
assert.deepEqual(left, []);
console.log('ok');
process.exit(0);
