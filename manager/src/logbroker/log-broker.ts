import type { Task } from '@tessera/shared/model';
import type { LogRecord } from '@tessera/shared/wire';

/** Whose logs: those of a service's tasks, new ones included while following, of tasks by id, or of a container. */
export type LogSelector =
  | { readonly kind: 'service'; readonly serviceId: string }
  | { readonly kind: 'tasks'; readonly taskIds: readonly string[] }
  | { readonly kind: 'container'; readonly containerId: string };

export interface LogOptions {
  readonly follow: boolean;
  /** Lines of history per task; -1: all. */
  readonly tail: number;
  /** Unix times in nanoseconds; undefined: no bound. */
  readonly sinceNs: bigint | undefined;
  readonly untilNs: bigint | undefined;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export type LogEntry =
  /** `record.gap` counts records lost to rotation before this one. A container is a task of no service here. */
  | { readonly kind: 'record'; readonly task: Task; readonly record: LogRecord }
  /** Part of the answer is missing: a node cannot be reached or its stream broke. `message` is for people. */
  | {
      readonly kind: 'missing';
      readonly nodeId: string;
      readonly taskIds: readonly string[];
      readonly message: string;
    };

/** The logs of many tasks as one stream. */
export interface LogBroker {
  /**
   * Merged by time as far as what has arrived allows; each task's own order is kept exactly. A node that
   * does not answer costs one `missing` entry, never a hang. Ends by itself unless following; while
   * following, a stream that broke is taken up again where it was. Following a container ends when it does.
   *
   * @throws ClusterError `notFound` when the service, a task or the container does not exist
   */
  logs(selector: LogSelector, options: LogOptions, signal: AbortSignal): AsyncIterable<LogEntry>;
}
