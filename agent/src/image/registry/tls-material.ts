import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { ClusterError } from '@tessera/shared/errors';

/** What TLS to one host is made with: PEM texts. */
export interface TlsMaterial {
  readonly ca: readonly string[];
  readonly cert?: string;
  readonly key?: string;
}

/** The host's own trust store, where Debian, Alpine and others keep it. */
const SYSTEM_STORE = '/etc/ssl/certs/ca-certificates.crt';

/**
 * Authorities and client certificate for `host`: `<directory>/<host>/*.crt` are trusted beside the system's own,
 * `NAME.cert` with `NAME.key` is shown to the registry.
 *
 * Source: docs.docker.com/engine/security/certificates, whose layout this is.
 * @throws ClusterError `failedPrecondition` for a certificate without its key, or the other way round
 */
export async function tlsMaterial(directory: string, host: string): Promise<TlsMaterial> {
  const own = join(directory, host);
  const names = (await namesIn(own)).sort();
  const system = await readFile(SYSTEM_STORE, 'utf8').catch(() => '');
  const authorities = await Promise.all(
    names.filter((name) => name.endsWith('.crt')).map((name) => readFile(join(own, name), 'utf8')),
  );
  const ca = [...rootCertificates, ...(system ? [system] : []), ...authorities];

  const certName = names.find((name) => name.endsWith('.cert'));
  const keyName = names.find((name) => name.endsWith('.key'));
  if (!certName && !keyName) return { ca };
  const wanted = certName ? certName.replace(/cert$/, 'key') : keyName!.replace(/key$/, 'cert');
  if (!names.includes(wanted)) {
    throw new ClusterError(
      'failedPrecondition',
      certName
        ? `missing key ${wanted} for client certificate ${certName} in ${own}; authorities must end in .crt`
        : `missing client certificate ${wanted} for key ${keyName} in ${own}`,
    );
  }
  const [cert, key] = certName ? [certName, wanted] : [wanted, keyName!];
  return { ca, cert: await readFile(join(own, cert), 'utf8'), key: await readFile(join(own, key), 'utf8') };
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
