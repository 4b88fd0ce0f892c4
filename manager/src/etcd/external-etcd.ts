import { readFileSync } from 'node:fs';
import { errorText, invalid } from '@tessera/shared/errors';
import type { EtcdOptions } from '../store/kv/etcd-client.js';

/** Where the PEM files lie that an external etcd is reached with. */
export interface EtcdTlsFiles {
  readonly caFile: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** Reads them. @throws ClusterError `invalidArgument` that names the flag of the file that cannot be read */
export function readEtcdTls({ caFile, certFile, keyFile }: EtcdTlsFiles): NonNullable<EtcdOptions['tls']> {
  return {
    ca: readPem('etcd-cacert', caFile),
    ...(certFile && { cert: readPem('etcd-cert', certFile) }),
    ...(keyFile && { key: readPem('etcd-key', keyFile) }),
  };
}

function readPem(flag: string, path: string): Buffer {
  try {
    const pem = readFileSync(path);
    if (pem.includes('-----BEGIN ')) return pem;
  } catch (error) {
    throw invalid(`--${flag}: ${errorText(error)}`);
  }
  throw invalid(`--${flag}: ${path} holds no PEM`);
}
