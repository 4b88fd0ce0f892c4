import { invalid } from '@tessera/shared/errors';
import { z } from 'zod';

/**
 * Who asks, as Docker's clients send it in `X-Registry-Auth`. Either name and password, or an identity token (a
 * refresh token of OAuth 2), or a registry token (sent as it is).
 */
export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
  readonly identityToken: string;
  readonly registryToken: string;
}

export const NO_AUTH: RegistryAuth = { username: '', password: '', identityToken: '', registryToken: '' };

const BYTES_MAX = 64 * 1024;

const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '');
const authSchema = z.object({
  username: text,
  password: text,
  auth: text,
  identitytoken: text,
  registrytoken: text,
});

/**
 * Source: moby api/types/registry/authconfig.go: base64url of JSON, padded or not; empty means nobody.
 * @throws ClusterError `invalidArgument`
 */
export function parseRegistryAuth(header: string): RegistryAuth {
  if (header === '') return NO_AUTH;
  if (header.length > BYTES_MAX) throw invalid('X-Registry-Auth is too long');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'));
  } catch {
    throw invalid('invalid X-Registry-Auth header: it must be JSON in base64url');
  }
  const parsed = authSchema.safeParse(value ?? {});
  if (!parsed.success)
    throw invalid(`invalid X-Registry-Auth header: ${parsed.error.issues[0]?.path.join('.')} must be a text`);
  const { username, password, auth, identitytoken, registrytoken } = parsed.data;
  const [name, ...secret] = auth && !username ? Buffer.from(auth, 'base64').toString('utf8').split(':') : [];
  return {
    username: name ?? username,
    password: name === undefined ? password : secret.join(':').replace(/\0+$/, ''),
    identityToken: identitytoken,
    registryToken: registrytoken,
  };
}

export const basicCredentials = ({ username, password }: RegistryAuth): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
