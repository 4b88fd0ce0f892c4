import { HOST_GATEWAY } from '@tessera/shared/docker-api';
import { ClusterError, invalid } from '@tessera/shared/errors';
import type { ContainerNetwork, NetworkFiles } from './container-network.js';
import { splitAddress } from './subnets.js';

/** Where a container's resolver is. Source: Docker. */
export const RESOLVER_ADDRESS = '127.0.0.11';

export const isLoopback = (address: string): boolean => address.startsWith('127.') || address === '::1';

/**
 * Contents of /etc/resolv.conf and /etc/hosts. Sources: resolv.conf(5), hosts(5).
 *
 * @param hostServers the host's resolvers, which a container without a network of the cluster asks itself;
 *   undefined when it cannot reach them
 * @param gateway the host's address for containers; empty while there is none
 */
export function networkFiles(
  spec: Parameters<ContainerNetwork['files']>[0],
  hostServers: readonly string[] | undefined,
  gateway = '',
): NetworkFiles {
  // As Docker on its default bridge: no resolver of ours, and so no names of ours.
  const isPlain = spec.attachments.length === 0 && hostServers !== undefined;
  const servers = isPlain ? (spec.dnsServers.length > 0 ? spec.dnsServers : hostServers) : [RESOLVER_ADDRESS];
  // A user's ndots replaces ours; servers the user named are asked by the resolver, not by the container.
  const options =
    isPlain || spec.dnsOptions.some((option) => option.startsWith('ndots:'))
      ? spec.dnsOptions
      : ['ndots:0', ...spec.dnsOptions];
  // Docker's word for none at all.
  const search = spec.dnsSearch.filter((domain) => domain !== '.');
  // As with Docker, the bridge's is of account to a container that is on nothing else.
  const addrs =
    spec.attachments.length > 0 ? spec.attachments.map(({ addr }) => addr) : [spec.localAddress ?? ''];
  const own = addrs.filter((addr) => addr !== '').map((addr) => splitAddress(addr).address);
  const names = [...(spec.domainname ? [`${spec.hostname}.${spec.domainname}`] : []), spec.hostname];
  return {
    resolvConf: lines([
      ...servers.map((server) => `nameserver ${oneWord(server)}`),
      ...(search.length > 0 ? [`search ${search.map(oneWord).join(' ')}`] : []),
      ...(options.length > 0 ? [`options ${options.map(oneWord).join(' ')}`] : []),
    ]),
    hosts: lines([
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      'fe00::\tip6-localnet',
      'ff00::\tip6-mcastprefix',
      'ff02::1\tip6-allnodes',
      'ff02::2\tip6-allrouters',
      ...spec.extraHosts.map((line) => hostLine(line, gateway)),
      // On no network it is known to itself alone.
      ...(own.length > 0 ? own : ['127.0.1.1']).map(
        (address) => `${address}\t${names.map(oneWord).join(' ')}`,
      ),
    ]),
  };
}

const lines = (all: readonly string[]): string => `${all.join('\n')}\n`;

/** What would end a line or a word does not get into the files. */
function oneWord(text: string): string {
  if (!/^[^\s#]+$/.test(text)) throw invalid(`'${text}' is not a word that resolv.conf or hosts can hold`);
  return text;
}

/** "10.0.0.1 db db.local", as the model has it. @throws ClusterError `unavailable` while the gateway is not known */
export function hostLine(line: string, gateway: string): string {
  const [word, ...names] = line.trim().split(/\s+/);
  const address = word === HOST_GATEWAY ? gateway : word;
  if (word === HOST_GATEWAY && address === '')
    throw new ClusterError('unavailable', 'host-gateway: this host has no bridge yet');
  if (!address || names.length === 0) throw invalid(`extra host '${line}' is not "ADDRESS NAME"`);
  return `${oneWord(address)}\t${names.map(oneWord).join(' ')}`;
}
