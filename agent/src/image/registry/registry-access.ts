import type { Clock, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { familiarName, parseReference } from '@tessera/shared/image-reference';
import { NO_PROXIES } from './proxies.js';
import { NO_AUTH, type RegistryAuth } from './registry-auth.js';
import { RegistrySession } from './registry-session.js';
import { endpointsOf, type RegistrySettings, type Resolve } from './registry-settings.js';

export interface RegistryAccessOptions {
  readonly settings: RegistrySettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly resolve: Resolve;
}

/** A reference, taken apart for a registry. */
export interface RemoteReference {
  /** As references have it: `docker.io`, `localhost:5000`. */
  readonly host: string;
  /** `library/busybox`. */
  readonly repository: string;
  /** Tag or digest: what is asked for. */
  readonly wanted: string;
  /** Normalised, with tag where one is meant: `docker.io/library/busybox:latest`; empty when a digest is. */
  readonly name: string;
  /** As people write it, without and with tag or digest. */
  readonly familiarRepository: string;
  readonly familiar: string;
}

/** @throws ClusterError `invalidArgument` */
export function remoteReference(text: string): RemoteReference {
  const { repository, tag, digest } = parseReference(text);
  const slash = repository.indexOf('/');
  const wanted = digest || tag || 'latest';
  const familiarRepository = familiarName(repository);
  return {
    host: repository.slice(0, slash),
    repository: repository.slice(slash + 1),
    wanted,
    name: digest ? '' : `${repository}:${wanted}`,
    familiarRepository,
    familiar: `${familiarRepository}${digest ? '@' : ':'}${wanted}`,
  };
}

/** Opens sessions with registries, by what this host was told of them. */
export class RegistryAccess {
  constructor(private readonly options: RegistryAccessOptions) {}

  /**
   * Runs `work` with the registry's endpoints, one after the other: a mirror that fails gives way to the next, and
   * an insecure registry is asked without TLS when it does not answer with it. The sessions end with the work.
   *
   * @throws what the last endpoint failed with
   */
  async use<T>(
    host: string,
    auth: RegistryAuth,
    purpose: 'pull' | 'push',
    signal: AbortSignal,
    work: (session: RegistrySession) => Promise<T>,
  ): Promise<T> {
    const { settings, clock, random, resolve } = this.options;
    const { certsDirectory, proxies = NO_PROXIES } = settings;
    let fault: unknown = new ClusterError('unavailable', `no endpoint of registry ${host} is known`);
    for (const endpoint of await endpointsOf(host, settings, resolve, purpose)) {
      let session: RegistrySession | undefined;
      try {
        // A mirror is not the registry the credentials are for.
        const own = endpoint.isMirror ? NO_AUTH : auth;
        const parts = { endpoint, auth: own, certsDirectory, proxies, clock, random };
        session = await RegistrySession.open(parts, signal);
        return await work(session);
      } catch (error) {
        signal.throwIfAborted();
        fault = error;
        // One that answered has spoken for the registry.
        if (session && !endpoint.isMirror) throw error;
      } finally {
        session?.close();
      }
    }
    throw fault;
  }
}
