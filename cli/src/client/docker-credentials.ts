import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CliError } from '../cli-error.js';
import type { Config } from '../config.js';

/** As docker's client keeps docker.io. */
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

interface DockerConfig {
  readonly auths?: Readonly<Record<string, { readonly auth?: string; readonly identitytoken?: string }>>;
  readonly credsStore?: string;
  readonly credHelpers?: Readonly<Record<string, string>>;
}

/**
 * What `docker login` has kept for the registry of `image`, as `X-Registry-Auth` has it; undefined when there is none.
 *
 * Source: github.com/docker/cli, cli/config: config.json below DOCKER_CONFIG or ~/.docker, and its credential helpers.
 */
export async function registryAuth(config: Config, image: string): Promise<string | undefined> {
  const host = registryOf(image);
  const key = host === 'docker.io' ? DOCKER_HUB_KEY : host;
  const kept = readDockerConfig(config);
  const helper = kept.credHelpers?.[host] ?? kept.credsStore;
  const found = helper ? await askHelper(helper, key) : fromFile(kept, key);
  return found && Buffer.from(JSON.stringify({ ...found, serveraddress: key })).toString('base64url');
}

/** `localhost:5000/app` is on localhost:5000, `team/app` on docker.io. */
export function registryOf(image: string): string {
  const [first = '', ...rest] = image.split('/');
  return rest.length > 0 && /[.:]|^localhost$/.test(first) ? first : 'docker.io';
}

function readDockerConfig({ env }: Config): DockerConfig {
  const path = join(env.DOCKER_CONFIG || join(homedir(), '.docker'), 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return {};
  }
  try {
    return JSON.parse(text) as DockerConfig;
  } catch (error) {
    throw new CliError(`${path}: ${(error as Error).message}`);
  }
}

function fromFile({ auths = {} }: DockerConfig, key: string): object | undefined {
  const entry = auths[key] ?? auths[`https://${key}`];
  if (!entry) return undefined;
  const [username = '', ...password] = Buffer.from(entry.auth ?? '', 'base64')
    .toString('utf8')
    .split(':');
  return { username, password: password.join(':'), identitytoken: entry.identitytoken };
}

/** Source: github.com/docker/docker-credential-helpers: `get` reads the key, and answers JSON. */
async function askHelper(name: string, key: string): Promise<object | undefined> {
  const running = promisify(execFile)(`docker-credential-${name}`, ['get']);
  running.child.stdin?.end(key);
  try {
    const { Username, Secret } = JSON.parse((await running).stdout) as { Username: string; Secret: string };
    return Username === '<token>' ? { identitytoken: Secret } : { username: Username, password: Secret };
  } catch (error) {
    // Its way of saying that it has nothing.
    if (/credentials not found/.test(String((error as { stdout?: string }).stdout))) return undefined;
    throw new CliError(`docker-credential-${name}: ${(error as Error).message}`);
  }
}
