import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { invalid } from '@tessera/shared/errors';
import { TransportError } from './transport-errors.js';

/** Which proxies this host's traffic with registries takes, as the variables of the same names say. */
export interface ProxySettings {
  /** For `http:` URLs; empty: none. */
  readonly httpProxy: string;
  /** For `https:` URLs. */
  readonly httpsProxy: string;
  /** Hosts that are reached without, separated by commas. */
  readonly noProxy: string;
}

export const NO_PROXIES: ProxySettings = { httpProxy: '', httpsProxy: '', noProxy: '' };

/** @throws ClusterError `invalidArgument` naming the setting */
export function parseProxySettings(settings: ProxySettings): ProxySettings {
  for (const name of ['httpProxy', 'httpsProxy'] as const) {
    const text = settings[name];
    if (text !== '' && !proxyUrl(text))
      throw invalid(`proxy ${text} is not valid: write http://HOST[:PORT] or https://HOST[:PORT]`);
  }
  return settings;
}

/**
 * The proxy for a URL; undefined: there is none to take.
 *
 * Source: golang.org/x/net/http/httpproxy, by which dockerd decides: this host itself is never asked for by a proxy.
 */
export function proxyFor(url: URL, settings: ProxySettings): URL | undefined {
  const proxy = proxyUrl(url.protocol === 'https:' ? settings.httpsProxy : settings.httpProxy);
  return proxy && !isExempt(url, settings.noProxy) ? proxy : undefined;
}

/** A host without a scheme is one of HTTP. */
function proxyUrl(text: string): URL | undefined {
  const full = text === '' || text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  return url && /^https?:$/.test(url.protocol) ? url : undefined;
}

function isExempt(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (host === 'localhost' || isWithin(host, '127.0.0.0/8') || isWithin(host, '::1/128')) return true;
  return noProxy
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry !== '' && matches(entry, host, port));
}

/** `*`, a network, or HOST[:PORT], which stands for what is below it as well; `.HOST` for that alone. */
function matches(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return isWithin(host, entry);
  const [, name = '', wantedPort] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) ? `${entry}` : entry) ?? [];
  if (isIP(entry)) return host === entry;
  if (wantedPort !== undefined && wantedPort !== port) return false;
  const domain = name.replace(/^\*/, '');
  return domain.startsWith('.') ? host.endsWith(domain) : host === domain || host.endsWith(`.${domain}`);
}

function isWithin(host: string, network: string): boolean {
  const [address = '', bits] = network.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(host) === 0 || isIP(address) === 0 || !/^\d{1,3}$/.test(bits ?? '')) return false;
  try {
    const list = new BlockList();
    list.addSubnet(address, Number(bits), family);
    return list.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
  } catch {
    return false;
  }
}

/** What a request to a host behind a proxy without TLS is sent with: the proxy is asked for the whole URL. */
export function throughProxy(proxy: URL, url: URL): http.RequestOptions & { headers: object } {
  return {
    protocol: proxy.protocol,
    hostname: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: proxy.port || (proxy.protocol === 'https:' ? 443 : 80),
    path: url.href,
    headers: { host: url.host, ...proxyAuthorization(proxy) },
  };
}

function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (!username) return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

/** TLS to registries inside tunnels that a proxy makes: it sees their names and nothing else. */
export class TunnelAgent extends https.Agent {
  constructor(
    private readonly proxy: URL,
    options: https.AgentOptions,
  ) {
    super(options);
  }

  // The tunnel comes later, by the callback.
  override createConnection(
    options: http.ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    const host = options.host ?? '';
    const target = `${host.includes(':') ? `[${host}]` : host}:${options.port ?? 443}`;
    this.#tunnel(target).then(
      (socket) => callback?.(null, tls.connect({ ...(options as tls.ConnectionOptions), socket })),
      (error: Error) => callback?.(error, undefined as never),
    );
  }

  #tunnel(target: string): Promise<Socket> {
    const { proxy } = this;
    return new Promise((resolve, reject) => {
      const { headers, ...where } = throughProxy(proxy, new URL(`http://${target}`));
      const asking = (proxy.protocol === 'https:' ? https : http).request({
        ...where,
        method: 'CONNECT',
        path: target,
        headers: { ...headers, host: target },
      });
      asking.once('connect', (answer: IncomingMessage, socket: Socket) => {
        if (answer.statusCode === 200) return resolve(socket);
        socket.destroy();
        reject(
          new TransportError(
            `proxy ${proxy.host} refused a connection to ${target}: ${answer.statusCode} ${answer.statusMessage}`,
            (answer.statusCode ?? 0) >= 500,
          ),
        );
      });
      asking.once('error', reject);
      asking.end();
    });
  }
}
