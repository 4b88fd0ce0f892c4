/** What the command line is told besides its arguments. */
export interface Config {
  /** `unix:///path` or `tcp://host:port`. */
  readonly host: string;
  /** Directory with ca.pem, cert.pem and key.pem; empty when none is named. */
  readonly certPath: string;
  readonly env: Readonly<NodeJS.ProcessEnv>;
}

export const DEFAULT_HOST = 'unix:///run/tessera/tessera.sock';

/** Environment over defaults; flags come over both, in `client/endpoint.ts`. */
export const readConfig = (env: NodeJS.ProcessEnv): Config =>
  Object.freeze({
    host: env.TSCTL_HOST || DEFAULT_HOST,
    certPath: env.TSCTL_CERT_PATH ?? '',
    env,
  });
