import type { LogRecord, LogsRequest } from '@tessera/shared/wire';

/** Reads what tasks on this node have written, from the shims' segments, also of ended tasks. */
export interface TaskLogs {
  /**
   * Records in order of time for each task: history, then live ones if `follow`. A slow reader slows only
   * itself; what rotation removed meanwhile is a record with `gap` set. Ends when the tasks have ended.
   */
  read(request: LogsRequest, signal: AbortSignal): AsyncIterable<LogRecord>;
}
