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
