import { constants } from 'node:crypto';

/** A node's key, its certificate and the CA that issued it, PEM. */
export interface TlsIdentity {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caCertPem: string;
}

/**
 * TLS that asks every client for a certificate and lets those without one in: joining needs that. A caller counts as
 * certified only if our CA issued what it shows, so `authorize` can tell.
 */
export const serverContextOf = ({ keyPem, certPem, caCertPem }: TlsIdentity) => ({
  key: keyPem,
  cert: certPem,
  ca: caCertPem,
  minVersion: 'TLSv1.3' as const,
  // A resumed session would be believed without its certificate being checked again.
  secureOptions: constants.SSL_OP_NO_TICKET,
});
