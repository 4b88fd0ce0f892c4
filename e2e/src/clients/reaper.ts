// What testcontainers starts beside its containers, by Ryuk's documented protocol: every line that comes on port 8080,
// `label=NAME=VALUE&…`, is answered with ACK, and once the last client has gone and none came back in time, everything
// with one of the lines' labels is removed by the API's socket. It runs in an image that has nothing but Node.
import { request } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';

const SOCKET = '/var/run/docker.sock';
const PORT = 8080;
const OWN_LABEL = 'org.testcontainers.ryuk';
const RECONNECTION_MS = Number.parseFloat(process.env.RYUK_RECONNECTION_TIMEOUT ?? '10') * 1_000;

/** Each is a set of labels that things have together. */
const wanted = new Map<string, readonly string[]>();
const clients = new Set<Socket>();
let timer: NodeJS.Timeout | undefined;

async function call(method: string, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: SOCKET, method, path }, (response) => {
      text(response).then((body) => {
        // What somebody else has removed is as good.
        if ((response.statusCode ?? 0) < 300 || response.statusCode === 404) resolve(body);
        else reject(new Error(`${method} ${path}: ${body}`));
      }, reject);
    });
    sent.on('error', reject);
    sent.end();
  });
}

async function reap(labels: readonly string[]): Promise<void> {
  const filters = (more = {}) => encodeURIComponent(JSON.stringify({ label: labels, ...more }));
  const containers = JSON.parse(await call('GET', `/containers/json?all=1&filters=${filters()}`)) as {
    Id: string;
    Labels: Record<string, string>;
  }[];
  for (const { Id, Labels } of containers)
    if (Labels[OWN_LABEL] !== 'true') await call('DELETE', `/containers/${Id}?force=1&v=1`);
  await call('POST', `/networks/prune?filters=${filters()}`);
  await call('POST', `/volumes/prune?filters=${filters({ all: ['true'] })}`);
  await call('POST', `/images/prune?filters=${filters({ dangling: ['false'] })}`);
}

async function end(): Promise<void> {
  for (const labels of wanted.values()) await reap(labels);
  process.exit(0);
}

const server = createServer((socket) => {
  clients.add(socket);
  clearTimeout(timer);
  let line = '';
  socket.on('error', () => {});
  socket.on('data', (chunk: Buffer) => {
    line += chunk.toString();
    for (let at = line.indexOf('\n'); at >= 0; at = line.indexOf('\n')) {
      const labels = new URLSearchParams(line.slice(0, at).trim()).getAll('label');
      line = line.slice(at + 1);
      if (labels.length > 0) wanted.set(labels.join('\n'), labels);
      socket.write('ACK\n');
    }
  });
  socket.on('close', () => {
    clients.delete(socket);
    if (clients.size > 0) return;
    timer = setTimeout(() => {
      end().catch((error: unknown) => {
        console.error(String(error));
        process.exit(1);
      });
    }, RECONNECTION_MS);
  });
});
server.listen(PORT, () => console.log('Started'));
