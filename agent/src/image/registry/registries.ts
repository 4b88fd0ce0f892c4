import type { Clock, Logger, Random } from '@tessera/shared/env';
import { ClusterError } from '@tessera/shared/errors';
import { Puller } from './puller.js';
import { Pusher } from './pusher.js';
import { RegistryAccess } from './registry-access.js';
import type { RegistryAuth } from './registry-auth.js';
import { RegistryError } from './registry-errors.js';
import {
  parseRegistrySettings,
  type RegistrySettings,
  type Resolve,
  resolveBySystem,
} from './registry-settings.js';

export interface RegistriesOptions {
  readonly settings: RegistrySettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly resolve?: Resolve;
}

/** All that this host does with registries. */
export class Registries {
  readonly puller: Puller;
  readonly pusher: Pusher;
  readonly #access: RegistryAccess;

  constructor(options: RegistriesOptions) {
    const { clock, random, logger, resolve = resolveBySystem } = options;
    const settings = parseRegistrySettings(options.settings);
    this.#access = new RegistryAccess({ settings, clock, random, resolve });
    const parts = { access: this.#access, clock, random, logger: logger.child({ module: 'image.registry' }) };
    this.puller = new Puller(parts);
    this.pusher = new Pusher(parts);
  }

  /**
   * Whether the registry takes these credentials.
   *
   * @returns an identity token to keep instead of the password, empty where the registry gives none
   * @throws ClusterError `unauthenticated` when its token server does not, `internal` when it does not itself: so
   *   dockerd answers 401 and 500
   */
  async login(host: string, auth: RegistryAuth, signal: AbortSignal): Promise<string> {
    if (!auth.username && !auth.identityToken && !auth.registryToken)
      throw new ClusterError('unauthenticated', 'no credentials were given');
    return this.#access.use(host, auth, 'push', signal, async (session) => {
      await session.authenticate(signal).catch((error: unknown) => {
        if (!(error instanceof RegistryError) || error.status !== 401) throw error;
        throw new ClusterError(
          'internal',
          `login attempt to ${session.endpoint.url}/v2/ failed with status: 401 Unauthorized`,
        );
      });
      return auth.username ? session.refreshToken : '';
    });
  }
}
