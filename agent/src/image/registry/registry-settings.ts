import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { invalid } from '@tessera/shared/errors';
import { NO_PROXIES, type ProxySettings, parseProxySettings } from './proxies.js';

/** The default registry's name in references, and where it answers. Source: moby registry/config.go. */
const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_URL = 'https://registry-1.docker.io';

/** What this host was told of registries, by flags named as dockerd's. */
export interface RegistrySettings {
  /** `HOST`, `HOST:PORT` or CIDR: reached without verified TLS, or without TLS where there is none. */
  readonly insecureRegistries: readonly string[];
  /** URLs asked before docker.io for what lies there. */
  readonly mirrors: readonly string[];
  /** `<host[:port]>/{*.crt,*.cert,*.key}` below it: authorities and client certificates, as Docker's certs.d. */
  readonly certsDirectory: string;
  /** Undefined: none. */
  readonly proxies?: ProxySettings;
}

/** Where a registry may answer. */
export interface Endpoint {
  /** Scheme and authority, without a slash at the end; a mirror's may have a path. */
  readonly url: string;
  readonly isMirror: boolean;
  /** TLS without verification. */
  readonly isInsecure: boolean;
}

/** Looks up a host's addresses; rejects when it has none. */
export type Resolve = (host: string) => Promise<readonly string[]>;

export const resolveBySystem: Resolve = async (host) =>
  (await lookup(host, { all: true })).map(({ address }) => address);

/** @throws ClusterError `invalidArgument` naming the entry */
export function parseRegistrySettings(settings: RegistrySettings): RegistrySettings {
  insecureNetworks(settings.insecureRegistries);
  parseProxySettings(settings.proxies ?? NO_PROXIES);
  for (const entry of settings.insecureRegistries) {
    if (entry.includes('://') || (entry.includes('/') && !isCidr(entry)))
      throw invalid(
        `insecure registry ${entry} is not valid: write HOST, HOST:PORT or a CIDR, without a scheme`,
      );
  }
  const mirrors = settings.mirrors.map((mirror) => {
    const url = URL.canParse(mirror) ? new URL(mirror) : undefined;
    if (!url || !/^https?:$/.test(url.protocol) || url.username || url.search || url.hash)
      throw invalid(
        `registry mirror ${mirror} is not valid: write http://HOST[:PORT] or https://HOST[:PORT]`,
      );
    return url.href.replace(/\/+$/, '');
  });
  return { ...settings, mirrors };
}

/**
 * The places to ask, in order. Source: moby registry/service_v2.go: mirrors are docker.io's alone, and an insecure
 * registry is tried with TLS before without.
 */
export async function endpointsOf(
  host: string,
  settings: RegistrySettings,
  resolve: Resolve,
  purpose: 'pull' | 'push',
): Promise<readonly Endpoint[]> {
  if (host === DOCKER_HUB) {
    const mirrors = purpose === 'pull' ? settings.mirrors : [];
    return [
      ...(await Promise.all(
        mirrors.map(async (url) => ({
          url,
          isMirror: true,
          isInsecure: await isInsecure(new URL(url).host, settings, resolve),
        })),
      )),
      { url: DOCKER_HUB_URL, isMirror: false, isInsecure: false },
    ];
  }
  const insecure = await isInsecure(host, settings, resolve);
  const tls: Endpoint = { url: `https://${host}`, isMirror: false, isInsecure: insecure };
  return insecure ? [tls, { ...tls, url: `http://${host}` }] : [tls];
}

/** By name, or by address: loopback always is, as with dockerd. */
async function isInsecure(host: string, settings: RegistrySettings, resolve: Resolve): Promise<boolean> {
  if (settings.insecureRegistries.includes(host)) return true;
  const { hostname } = new URL(`http://${host}`);
  const name = hostname.replace(/^\[|\]$/g, '');
  const networks = insecureNetworks(settings.insecureRegistries);
  const addresses = isIP(name) ? [name] : await resolve(name).catch(() => []);
  return addresses.some((address) => networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4'));
}

const isCidr = (text: string): boolean => /^[0-9a-fA-F.:]+\/\d{1,3}$/.test(text);

function insecureNetworks(entries: readonly string[]): BlockList {
  const networks = new BlockList();
  for (const entry of ['127.0.0.0/8', '::1/128', ...entries.filter(isCidr)]) {
    const [address = '', bits] = entry.split('/');
    try {
      networks.addSubnet(address, Number(bits), isIP(address) === 6 ? 'ipv6' : 'ipv4');
    } catch {
      throw invalid(`insecure registry ${entry} is no network: write ADDRESS/BITS`);
    }
  }
  return networks;
}
