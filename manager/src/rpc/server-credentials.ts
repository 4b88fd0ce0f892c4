import { constants } from 'node:crypto';
import { ServerCredentials } from '@grpc/grpc-js';

/** A node's key, its certificate and the CA that issued it, PEM. */
export interface TlsIdentity {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caCertPem: string;
}

/**
 * TLS that asks every client for a certificate and lets those without one in: joining needs that. A call's
 * auth context holds a certificate only if our CA issued it, so `authorize` can tell.
 */
export class NodeServerCredentials extends ServerCredentials {
  constructor(identity: TlsIdentity) {
    super({ requestCert: true, rejectUnauthorized: false }, contextOf(identity));
  }

  /** Serves new connections with a renewed certificate. */
  replace(identity: TlsIdentity): void {
    this.updateSecureContextOptions(contextOf(identity));
  }

  _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}

const contextOf = ({ keyPem, certPem, caCertPem }: TlsIdentity) => ({
  key: keyPem,
  cert: certPem,
  ca: caCertPem,
  minVersion: 'TLSv1.3' as const,
  // A resumed session would be believed without its certificate being checked again.
  secureOptions: constants.SSL_OP_NO_TICKET,
});
