import { invalid } from '@tessera/shared/errors';

const PORT_MAX = 65_535;
const PROTOCOLS = ['tcp', 'udp', 'sctp'];

/**
 * `80`, `53/udp`, `8000-8010`: each port with its protocol. What stands before the last colon is the host's side, which
 * an image cannot speak for.
 *
 * Source: github.com/docker/go-connections/nat, ParsePortSpec.
 * @throws ClusterError `invalidArgument` in Docker's words
 */
export function exposedPorts(text: string): string[] {
  const [ports = '', protocol = 'tcp', ...more] = text.split('/');
  const range = ports.slice(ports.lastIndexOf(':') + 1);
  if (range === '') throw invalid(`no port specified: ${text}<empty>`);
  const [first, last = first, ...rest] = range.split('-').map(portNumber);
  if (first === undefined || last === undefined || rest.length > 0 || last < first) {
    throw invalid(`invalid containerPort: ${range}`);
  }
  if (more.length > 0 || !PROTOCOLS.includes(protocol.toLowerCase())) {
    throw invalid(`invalid proto: ${[protocol, ...more].join('/')}`);
  }
  const count = last - first + 1;
  return Array.from({ length: count }, (_, index) => `${first + index}/${protocol.toLowerCase()}`);
}

function portNumber(text: string): number | undefined {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port <= PORT_MAX ? port : undefined;
}
