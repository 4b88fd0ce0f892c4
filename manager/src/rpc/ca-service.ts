import { CertificateAuthorityService } from '@tessera/shared/wire';
import type { Admission } from '../ca/index.js';
import type { RpcServer } from './rpc-server.js';

/** Puts joining and renewing on the wire. */
export function serveCertificateAuthority(server: RpcServer, admission: Admission): void {
  server.unary(CertificateAuthorityService.getRootCertificate, async () => ({
    caCertPem: await admission.rootCertificate(),
  }));
  server.unary(CertificateAuthorityService.join, (request) => admission.join(request));
  server.unary(CertificateAuthorityService.renew, ({ csrPem }, caller) =>
    admission.renew(caller!.nodeId, csrPem),
  );
}
