import { invalid } from '@tessera/shared/errors';
import type { ControlContext, Services, Tasks } from '../../controlapi/index.js';
import type { LogEntry, LogOptions, LogSelector } from '../../logbroker/index.js';
import type { ApiRequest, Route, StreamReply } from '../route.js';
import { isTrue } from './json-edge.js';
import { frame, STDERR, STDOUT, SYSTEM_ERROR, streamType } from './multiplexed.js';

/** `/services/:id/logs` and `/tasks/:id/logs`, Docker Engine API v1.29 and later. */
export function logRoutes(services: Services, tasks: Tasks, context: ControlContext): Route[] {
  const reply = (request: ApiRequest, selector: LogSelector, isRaw: boolean): StreamReply => {
    const options = logOptions(request);
    const style: LineStyle = {
      timestamps: isTrue(request.query.get('timestamps')),
      details: isTrue(request.query.get('details')),
    };
    const entries = context.logBroker.logs(selector, options, request.signal);
    return {
      contentType: streamType(request.version, isRaw),
      chunks: isRaw ? rawLines(entries) : frames(entries, style),
      onError: (message) => (isRaw ? `${message}\n` : frame(SYSTEM_ERROR, Buffer.from(message))),
    };
  };

  return [
    {
      kind: 'stream',
      method: 'GET',
      pattern: '/services/:id/logs',
      handle: async (request) => {
        const { service } = await services.inspect(request.params.id!);
        const isTty = service.spec?.task?.container?.tty ?? false;
        return reply(request, { kind: 'service', serviceId: service.id }, isTty);
      },
    },
    {
      kind: 'stream',
      method: 'GET',
      pattern: '/tasks/:id/logs',
      handle: async (request) => {
        const { view, task } = await tasks.inspect(request.params.id!);
        const isTty = view.specOf(task).container?.tty ?? false;
        return reply(request, { kind: 'tasks', taskIds: [task.id] }, isTty);
      },
    },
  ];
}

export function logOptions({ query }: ApiRequest): LogOptions {
  const stdout = isTrue(query.get('stdout'));
  const stderr = isTrue(query.get('stderr'));
  if (!stdout && !stderr) throw invalid('Bad parameters: you must choose at least one stream');
  const tail = query.get('tail') || 'all';
  if (tail !== 'all' && !/^-?\d{1,9}$/.test(tail))
    throw invalid(`tail: '${tail}' is neither a number nor all`);
  return {
    follow: isTrue(query.get('follow')),
    // A negative number is all, as dockerd has it.
    tail: tail === 'all' ? -1 : Math.max(-1, Number(tail)),
    sinceNs: timestampNs('since', query.get('since')),
    untilNs: timestampNs('until', query.get('until')),
    stdout,
    stderr,
  };
}

/** Unix time in seconds with up to nine decimals, as clients send it. Zero is no bound. */
function timestampNs(field: string, value: string | null): bigint | undefined {
  if (!value || /^0(\.0+)?$/.test(value)) return undefined;
  const parts = /^(\d{1,12})(?:\.(\d{1,9}))?$/.exec(value);
  if (!parts) throw invalid(`${field}: '${value}' is no Unix time such as 1700000000.5`);
  return BigInt(parts[1]!) * 1_000_000_000n + BigInt((parts[2] ?? '').padEnd(9, '0'));
}

export interface LineStyle {
  readonly timestamps: boolean;
  readonly details: boolean;
}

async function* frames(entries: AsyncIterable<LogEntry>, style: LineStyle): AsyncGenerator<Uint8Array> {
  const missing: string[] = [];
  for await (const entry of entries) {
    if (entry.kind === 'missing') {
      missing.push(entry.message);
      continue;
    }
    const { record } = entry;
    if (record.gap > 0) missing.push(`${record.gap} lines of task ${entry.task.id} were lost to rotation`);
    if (record.line.length === 0 && record.gap > 0) continue;
    const head = Buffer.from(prefix(entry, style));
    yield frame(record.stderr ? STDERR : STDOUT, Buffer.concat([head, lineOf(entry)]));
  }
  // As Swarm does it: what could be had, then what could not.
  if (missing.length > 0) {
    const text = `warning: incomplete log stream. some logs could not be retrieved for the following reasons: ${missing.join(', ')}`;
    yield frame(SYSTEM_ERROR, Buffer.from(text));
  }
}

async function* rawLines(entries: AsyncIterable<LogEntry>): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) {
    if (entry.kind === 'record') yield entry.record.line;
  }
}

export type RecordEntry = Extract<LogEntry, { kind: 'record' }>;

/** A line ends with a newline unless it goes on in the next record. */
export function lineOf({ record }: RecordEntry): Buffer {
  const line = Buffer.from(record.line);
  return record.partial || line.at(-1) === 0x0a ? line : Buffer.concat([line, Buffer.from('\n')]);
}

/** Time first, then where the line is from, as Docker's clients take them apart again. */
function prefix({ record, task }: RecordEntry, style: LineStyle): string {
  const parts: string[] = [];
  if (style.timestamps) parts.push(rfc3339Nano(record.seconds, record.nanos));
  if (style.details) {
    parts.push(
      [
        `com.docker.swarm.node.id=${task.nodeId}`,
        `com.docker.swarm.service.id=${task.serviceId}`,
        `com.docker.swarm.task.id=${task.id}`,
      ].join(','),
    );
  }
  return parts.map((part) => `${part} `).join('');
}

/** Nine decimals always, as Docker writes log times, so that they sort as text. */
export const rfc3339Nano = (seconds: number, nanos: number): string =>
  `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(nanos).padStart(9, '0')}Z`;
