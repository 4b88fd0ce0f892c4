import type { Clock } from '@tessera/shared/env';
import type { Store } from '../store/view.js';
import type { SideStreams } from '../streams/index.js';
import type { LogBroker, LogEntry, LogOptions, LogSelector } from './log-broker.js';
import { LogSubscription } from './log-subscription.js';

/** Reads logs from the agents that have them, over side streams. */
export class ServiceLogBroker implements LogBroker {
  constructor(
    private readonly env: { readonly store: Store; readonly streams: SideStreams; readonly clock: Clock },
  ) {}

  logs(selector: LogSelector, options: LogOptions, signal: AbortSignal): AsyncIterable<LogEntry> {
    return new LogSubscription({ ...this.env, selector, options, signal }).entries();
  }
}
