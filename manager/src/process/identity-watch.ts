import type { Clock, Logger } from '@tessera/shared/env';
import type { TlsIdentity } from '../rpc/index.js';
import type { NodeFiles } from './node-files.js';

/** `tsd` renews the certificate at half of its 90 days, so there is time. */
const LOOK_EVERY_MS = 60_000;

/** This node's certificate as it is now: `tsd` renews it while the manager runs. */
export class IdentityWatch {
  #current: TlsIdentity;
  #version: string;
  #cancel: () => void;

  constructor(
    private readonly files: NodeFiles,
    private readonly clock: Clock,
    private readonly logger: Logger,
    private readonly onChange: (identity: TlsIdentity) => void,
  ) {
    this.#version = files.certificateVersion();
    this.#current = files.tls();
    this.#cancel = this.#schedule();
  }

  get current(): TlsIdentity {
    return this.#current;
  }

  stop(): void {
    this.#cancel();
  }

  #schedule(): () => void {
    return this.clock.after(LOOK_EVERY_MS, () => {
      this.#cancel = this.#schedule();
      this.#look();
    });
  }

  #look(): void {
    try {
      const version = this.files.certificateVersion();
      if (version === this.#version) return;
      this.#current = this.files.tls();
      this.#version = version;
    } catch (error) {
      // A node that leaves deletes its files before it stops its manager.
      this.logger.warn({ error }, "this node's certificate cannot be read");
      return;
    }
    this.logger.info({}, 'serving with the renewed certificate');
    this.onChange(this.#current);
  }
}
