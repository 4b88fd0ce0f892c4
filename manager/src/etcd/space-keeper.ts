import { type Clock, delay, type Logger } from '@tessera/shared/env';
import { isTemporary } from '@tessera/shared/errors';
import type { Kv } from '../store/kv/kv.js';

export interface SpaceKeeperOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly quotaBytes: number;
  readonly signal: AbortSignal;
  readonly everyMs?: number;
}

const LOOK_EVERY_MS = 60_000;
/** Below this a database is not worth a pause: etcd answers nothing while it defragments, about 1 s for 100 MB. */
const DEFRAGMENT_FROM_BYTES = 128 * 2 ** 20;
/** Share of the quota in use at which somebody should look. */
const FULL_SHARE = 0.75;

/**
 * Keeps one etcd member within its quota: gives back what compaction freed, and lets writes in again after the quota
 * was reached, if compacting made room.
 */
export class SpaceKeeper {
  constructor(
    private readonly kv: Kv,
    private readonly options: SpaceKeeperOptions,
  ) {}

  /** Looks every minute until the signal is aborted. */
  async run(): Promise<void> {
    const { clock, logger, signal, everyMs = LOOK_EVERY_MS } = this.options;
    while (!signal.aborted) {
      await delay(clock, everyMs, signal).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.look();
      } catch (error) {
        if (!isTemporary(error)) logger.error({ error }, "cannot look after etcd's space");
      }
    }
  }

  async look(): Promise<void> {
    const { logger, quotaBytes } = this.options;
    const { revision, sizeBytes, usedBytes, outOfSpace } = await this.kv.status();
    if (outOfSpace) {
      logger.error(
        { sizeBytes, usedBytes, quotaBytes },
        'etcd is out of space and takes no writes: making room',
      );
      // All history goes: whoever watches from an older revision lists anew.
      await this.kv.compact(revision);
      await this.kv.defragment();
      await this.kv.clearSpaceAlarm();
      return;
    }
    if (usedBytes > FULL_SHARE * quotaBytes)
      logger.error({ usedBytes, quotaBytes }, 'etcd is nearly full: fewer objects, or a larger quota');
    if (sizeBytes > DEFRAGMENT_FROM_BYTES && usedBytes < sizeBytes / 2) {
      logger.info({ sizeBytes, usedBytes }, 'etcd gives free space back');
      await this.kv.defragment();
    }
  }
}
