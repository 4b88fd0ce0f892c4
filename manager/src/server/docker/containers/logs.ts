import { ClusterError } from '@tessera/shared/errors';
import { type Containers, isRunning } from '../../../controlapi/containers/index.js';
import type { ControlContext } from '../../../controlapi/index.js';
import type { LogEntry } from '../../../logbroker/index.js';
import type { Route } from '../../route.js';
import { isTrue } from '../json-edge.js';
import { type LineStyle, lineOf, logOptions, type RecordEntry, rfc3339Nano } from '../logs.js';
import { frame, STDERR, STDOUT, SYSTEM_ERROR, streamType } from '../multiplexed.js';

/** `/containers/:id/logs`. */
export function containerLogRoutes(containers: Containers, context: ControlContext): Route[] {
  return [
    {
      kind: 'stream',
      method: 'GET',
      pattern: '/containers/:id/logs',
      handle: async (request) => {
        const options = logOptions(request);
        const { container, state } = await containers.inspect(request.params.id!);
        if (container.host?.logDriver?.name === 'none')
          throw new ClusterError('unimplemented', 'configured logging driver does not support reading');
        const isTty = container.spec?.tty ?? false;
        const style: LineStyle = {
          timestamps: isTrue(request.query.get('timestamps')),
          details: isTrue(request.query.get('details')),
        };
        // One that does not run has said what it has to say.
        const follow = options.follow && isRunning(state);
        const selector = { kind: 'container', containerId: container.id } as const;
        const entries = context.logBroker.logs(selector, { ...options, follow }, request.signal);
        return {
          contentType: streamType(request.version, isTty),
          early: follow,
          chunks: logLines(entries, style, isTty, follow),
          onError: (message) => (isTty ? `${message}\n` : frame(SYSTEM_ERROR, Buffer.from(message))),
        };
      },
    },
  ];
}

export async function* logLines(
  entries: AsyncIterable<LogEntry>,
  style: LineStyle,
  isTty: boolean,
  follow: boolean,
): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) {
    if (entry.kind === 'missing') {
      // What is followed is taken up again; what is read once would be cut short in silence.
      if (follow) continue;
      throw new ClusterError('unavailable', entry.message);
    }
    const { record } = entry;
    if (record.gap > 0 && record.line.length === 0) continue;
    const line = Buffer.concat([Buffer.from(prefix(entry, style)), lineOf(entry)]);
    yield isTty ? line : frame(record.stderr ? STDERR : STDOUT, line);
  }
}

/** Time first, then the details, of which there are none. Source: moby api/server/httputils/write_log_stream.go. */
function prefix({ record }: RecordEntry, { timestamps, details }: LineStyle): string {
  return `${timestamps ? `${rfc3339Nano(record.seconds, record.nanos)} ` : ''}${details ? ' ' : ''}`;
}
