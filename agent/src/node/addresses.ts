import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { isIP } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { ClusterError, invalid } from '@tessera/shared/errors';

export const MANAGER_PORT = 2377;

/** Interfaces of this host by name, as `os.networkInterfaces` gives them. */
export type Interfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

/** An address with an optional port, as flags and Docker's bodies have them: "10.0.0.5", "eth1:2377", "[fd00::1]:2377". */
interface HostAndPort {
  readonly host: string;
  readonly port: number | undefined;
}

/**
 * `HOST:PORT` that a server listens on.
 *
 * @param text address or interface, each with an optional port; empty: every address
 */
export function listenAddress(text: string, defaultPort: number, interfaces = hostInterfaces()): string {
  const { host, port } = splitAddress(text || '0.0.0.0', 'listen address');
  return joinAddress(resolveHost(host, 'listen address', interfaces), port ?? defaultPort);
}

/**
 * `HOST:PORT` that others reach this node by.
 *
 * @param text address or interface, each with an optional port; empty: the only address of this host
 * @throws ClusterError `invalidArgument` when there is none, or a choice that only the user can make
 */
export function advertiseAddress(text: string, defaultPort: number, interfaces = hostInterfaces()): string {
  if (!text) return joinAddress(onlyAddress(interfaces), defaultPort);
  const { host, port } = splitAddress(text, 'advertise address');
  const address = resolveHost(host, 'advertise address', interfaces);
  if (['0.0.0.0', '::'].includes(address))
    throw invalid(`advertise address must be a non-zero IP address or network interface (got ${text})`);
  return joinAddress(address, port ?? defaultPort);
}

/**
 * The address of this host from which packets to `remote` leave. Nothing is sent: connecting a datagram socket only
 * looks up the route (connect(2)).
 *
 * @param remote HOST:PORT
 */
export async function addressTowards(remote: string): Promise<string> {
  const { host, port } = splitAddress(remote, 'address');
  const socket = createSocket(isIP(host) === 6 ? 'udp6' : 'udp4');
  try {
    socket.connect(port ?? MANAGER_PORT, host);
    await once(socket, 'connect');
    return socket.address().address;
  } catch (error) {
    throw new ClusterError('unavailable', `no route to ${remote}`, { cause: error });
  } finally {
    socket.close();
  }
}

/** The host of `HOST:PORT`, without the brackets of an IPv6 address. */
export const hostOf = (address: string): string => splitAddress(address, 'address').host;

/** The port of `HOST:PORT`. @throws ClusterError `invalidArgument` when it has none */
export function portOf(address: string): number {
  const { port } = splitAddress(address, 'address');
  if (port === undefined) throw invalid(`${address} has no port`);
  return port;
}

/**
 * Gives another host's address its default port where it has none: what a user writes after `join`.
 *
 * @throws ClusterError `invalidArgument`
 */
export function withPort(text: string, defaultPort: number): string {
  const parts = parseAddress(text);
  if (!parts?.host)
    throw invalid(`invalid remote address "${text}": give a manager's address as HOST or HOST:PORT`);
  return joinAddress(parts.host, parts.port ?? defaultPort);
}

const hostInterfaces = (): Interfaces => networkInterfaces();

/** HOST:PORT, with the brackets that an IPv6 address needs. */
export const joinAddress = (host: string, port: number): string =>
  isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;

function splitAddress(text: string, what: string): HostAndPort {
  const parts = parseAddress(text);
  if (!parts) throw invalid(`invalid ${what} "${text}": use IP, IP:PORT, INTERFACE or INTERFACE:PORT`);
  return parts;
}

/** Undefined for what is no address with an optional port. */
function parseAddress(text: string): HostAndPort | undefined {
  if (isIP(text)) return { host: text, port: undefined };
  const match = /^(?:\[([^\]]+)\]|([^:[\]\s]*))(?::(\d+))?$/.exec(text);
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  if (!match || (port !== undefined && (port < 1 || port > 65_535))) return undefined;
  return { host: match[1] ?? match[2] ?? '', port };
}

function resolveHost(host: string, what: string, interfaces: Interfaces): string {
  if (!host) return '0.0.0.0';
  if (isIP(host)) return host;
  const infos = interfaces[host];
  if (!infos)
    throw invalid(`invalid ${what} "${host}": it is neither an IP address nor an interface of this host`);
  const usable = infos.filter((info) => info.family === 'IPv4');
  if (usable.length !== 1)
    throw invalid(
      `interface ${host} has ${usable.length === 0 ? 'no IPv4 address' : 'more than one IPv4 address'}: ` +
        `give the address itself as ${what}`,
    );
  return usable[0]!.address;
}

/** Source for the text: moby `daemon/cluster/listen_addr.go`. */
function onlyAddress(interfaces: Interfaces): string {
  const candidates = Object.entries(interfaces).flatMap(([name, infos]) =>
    (infos ?? [])
      .filter((info) => info.family === 'IPv4' && !info.internal)
      .map((info) => ({ name, address: info.address })),
  );
  const [first, second] = candidates;
  if (!first) throw invalid('could not find the address of this host: specify one with --advertise-addr');
  if (second)
    throw invalid(
      `could not choose an IP address to advertise since this system has multiple addresses ` +
        `(${first.address} on ${first.name} and ${second.address} on ${second.name}) - specify one with --advertise-addr`,
    );
  return first.address;
}
