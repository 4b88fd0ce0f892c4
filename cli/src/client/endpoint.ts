import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CliError, EXIT_USAGE } from '../cli-error.js';
import type { Config } from '../config.js';

/** Global flags that say where the API is. */
export interface EndpointFlags {
  readonly host?: string;
  readonly tlscacert?: string;
  readonly tlscert?: string;
  readonly tlskey?: string;
}

export type Endpoint =
  | { readonly kind: 'unix'; readonly url: string; readonly socketPath: string }
  | {
      readonly kind: 'tls';
      readonly url: string;
      readonly host: string;
      readonly port: number;
      readonly ca: Buffer;
      readonly cert: Buffer;
      readonly key: Buffer;
    };

const API_TLS_PORT = 2376;

/** Flags over environment over `unix:///run/tessera/tessera.sock`. */
export function resolveEndpoint(flags: EndpointFlags, config: Config): Endpoint {
  const url = flags.host ?? config.host;
  if (url.startsWith('unix://')) {
    const socketPath = url.slice('unix://'.length);
    if (socketPath.startsWith('/')) return { kind: 'unix', url, socketPath };
  }
  const address = /^tcp:\/\/(\[[0-9a-fA-F:]+\]|[^:/]+)(?::(\d{1,5}))?\/?$/.exec(url);
  if (!address) {
    throw new CliError(
      `invalid host '${url}': write unix:///PATH or tcp://HOST[:PORT] for -H or TSCTL_HOST`,
      EXIT_USAGE,
    );
  }
  return {
    kind: 'tls',
    url,
    host: address[1]!.replace(/^\[|\]$/g, ''),
    port: Number(address[2] ?? API_TLS_PORT),
    ca: readPem('--tlscacert', flags.tlscacert, config, 'ca.pem'),
    cert: readPem('--tlscert', flags.tlscert, config, 'cert.pem'),
    key: readPem('--tlskey', flags.tlskey, config, 'key.pem'),
  };
}

function readPem(flag: string, given: string | undefined, config: Config, name: string): Buffer {
  const path = given ?? (config.certPath ? join(config.certPath, name) : undefined);
  if (!path) {
    throw new CliError(
      `a tcp:// host takes certificates: give ${flag}, or TSCTL_CERT_PATH with ca.pem, cert.pem and key.pem. Make them on a manager with "tsctl cluster certificate NAME"`,
      EXIT_USAGE,
    );
  }
  try {
    return readFileSync(path);
  } catch (error) {
    throw new CliError(`${flag}: cannot read ${path}: ${(error as Error).message}`, EXIT_USAGE);
  }
}
