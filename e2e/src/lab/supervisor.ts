// The process that a lab started by `npm run lab up` belongs to. It serves one-line JSON requests on
// <lab>/control.sock until told `down`, or until it is killed: then the lab ends with it.
//   supervisor.js NAME HOSTS CPUS MEMORY_BYTES FORM_CLUSTER
import { createServer } from 'node:net';
import { errorText } from '@tessera/shared/errors';
import { answer, type ControlReply, type ControlRequest } from './control.js';
import { Lab } from './lab.js';

const [name, hosts, cpus, memoryBytes, formCluster] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];

async function perform(lab: Lab, request: ControlRequest): Promise<ControlReply> {
  switch (request.verb) {
    case 'status':
      return {
        ok: true,
        hosts: lab.hosts.map((host) => ({
          name: host.name,
          address: host.address,
          socket: host.socket,
          dir: host.dir,
          pid: host.running ? host.pid : 0,
          agent: host.agentRunning,
        })),
      };
    case 'kill':
      await lab.host(request.host).kill();
      return { ok: true };
    case 'start':
      if (!lab.host(request.host).running) await lab.host(request.host).start();
      return { ok: true };
    case 'kill-agent':
      await lab.host(request.host).killAgent();
      return { ok: true };
    case 'start-agent':
      if (!lab.host(request.host).agentRunning) await lab.host(request.host).startAgent();
      return { ok: true };
    case 'cut':
      await lab.host(request.host).cut();
      return { ok: true };
    case 'heal':
      // A dead host is healed by switching it on again, a cut one by its cable.
      if (lab.host(request.host).running) await lab.host(request.host).heal();
      else await lab.host(request.host).start();
      return { ok: true };
    case 'down':
      await lab.down();
      return { ok: true };
  }
}

const lab = await Lab.up({
  name,
  hosts: Number(hosts),
  capacity: { cpus: Number(cpus), memoryBytes: Number(memoryBytes) },
});
if (formCluster === 'true') await lab.formCluster();

const server = createServer((socket) =>
  answer(socket, async (request) => {
    try {
      return await perform(lab, request);
    } catch (error) {
      return { ok: false, error: errorText(error) };
    } finally {
      if (request.verb === 'down') {
        socket.once('close', () => process.exit(0));
        server.close();
      }
    }
  }),
);
server.listen(`${lab.dir}/control.sock`, () => {
  process.send?.('ready');
  process.disconnect?.();
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void lab.down().then(() => process.exit(0)));
}
