import type { Clock, Random } from '@tessera/shared/env';
import { ClusterError, invalid } from '@tessera/shared/errors';
import type { Store } from '../store/view.js';
import { Signer, type SignOptions } from './signer.js';
import { UNITS } from './units.js';

const CLIENT_DAYS = 365;
const SERVER_DAYS = 365;
const CLIENT_NAME = /^[A-Za-z0-9][A-Za-z0-9._@ -]{0,63}$/;

/** A key and what proves it, all PEM. */
export interface IssuedCertificate {
  readonly keyPem: string;
  readonly certPem: string;
  readonly caCertPem: string;
}

/** What the API and the command line may ask of the cluster's certificate authority. */
export interface ClientCertificates {
  /**
   * A certificate with which a user may speak to the API over TLS (OU `client`, client authentication only).
   *
   * @param name common name, for the audit trail
   * @param validDays 1 to 3650
   * @throws ClusterError `invalidArgument`, or `failedPrecondition` while there is no cluster
   */
  issueClientCertificate(options: {
    readonly name: string;
    readonly validDays?: number;
  }): Promise<IssuedCertificate>;
}

/** Issues what is no node's: users' certificates and the API's own serving certificate. */
export class CertificateAuthority implements ClientCertificates {
  constructor(
    private readonly store: Store,
    private readonly clock: Clock,
    private readonly random: Random,
  ) {}

  async issueClientCertificate(options: {
    readonly name: string;
    readonly validDays?: number;
  }): Promise<IssuedCertificate> {
    const { name, validDays = CLIENT_DAYS } = options;
    if (!CLIENT_NAME.test(name))
      throw invalid(
        'name must be 1 to 64 letters, digits, blanks, or any of . _ @ -, starting with a letter or digit',
      );
    if (!Number.isInteger(validDays) || validDays < 1 || validDays > 3650)
      throw invalid('validDays must be a whole number from 1 to 3650');
    return this.#issue({ commonName: name, unit: UNITS.client, validDays, usages: ['client'] });
  }

  /** The certificate the API serves with over TLS. @param names host names and addresses it is reached by */
  issueServerCertificate(nodeId: string, names: readonly string[]): Promise<IssuedCertificate> {
    return this.#issue({
      commonName: nodeId,
      unit: UNITS.server,
      validDays: SERVER_DAYS,
      usages: ['server'],
      alternativeNames: [...new Set(names)],
    });
  }

  async #issue(options: SignOptions): Promise<IssuedCertificate> {
    const { cluster } = await this.store.read();
    if (!cluster)
      throw new ClusterError('failedPrecondition', 'there is no cluster yet: "tsctl cluster init" makes one');
    const signer = await Signer.open(cluster, cluster.id, this.clock, this.random);
    return { ...(await signer.issue(options)), caCertPem: cluster.caCertPem };
  }
}
