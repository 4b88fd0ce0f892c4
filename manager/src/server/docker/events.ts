import { invalid } from '@tessera/shared/errors';
import type { ClusterEvent, EventLog } from '../../controlapi/events/index.js';
import type { Route } from '../route.js';
import { Filters } from './filters.js';

const FILTERS = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
] as const;
type EventFilters = Filters<(typeof FILTERS)[number]>;

/** Objects that the cluster as a whole has; the others are on a node. */
const SWARM_TYPES = new Set(['node', 'service', 'network']);
/** Types that are filtered by a key of their own name. */
const NAMED_TYPES = ['container', 'image', 'network', 'node', 'service', 'volume'] as const;
const UNKNOWN_TYPES = ['config', 'daemon', 'plugin', 'secret'] as const;

/** `/events`, Docker Engine API v1.24 and later. */
export function eventRoutes(events: EventLog): Route[] {
  return [
    {
      kind: 'stream',
      method: 'GET',
      pattern: '/events',
      handle: async ({ query, signal }) => {
        const filters = Filters.parse(query.get('filters'), FILTERS);
        const range = {
          sinceMs: timeMs('since', query.get('since')),
          untilMs: timeMs('until', query.get('until')),
        };
        const source = events.read(range, (event) => matches(filters, event), signal);
        return {
          contentType: 'application/json',
          early: true,
          chunks: (async function* () {
            for await (const event of source) yield eventLine(event);
          })(),
          onError: (message) => `${JSON.stringify({ errorDetail: { message }, error: message })}\n`,
        };
      },
    },
  ];
}

/** Unix time in seconds, perhaps with decimals, or RFC 3339. */
function timeMs(field: string, value: string | null): number | undefined {
  if (!value || value === '0') return undefined;
  const ms = /^\d{1,12}(\.\d{1,9})?$/.test(value) ? Number(value) * 1_000 : Date.parse(value);
  if (Number.isNaN(ms)) throw invalid(`${field}: '${value}' is no Unix time such as 1700000000.5`);
  return ms;
}

function matches(filters: EventFilters, event: ClusterEvent): boolean {
  const { type, action, attributes } = event;
  // `health_status` means each of its words.
  const word = action.split(':', 1)[0]!;
  return (
    filters.exactly('type', type) &&
    filters.exactly('event', action, word) &&
    filters.exactly('scope', scopeOf(event)) &&
    filters.labels('label', attributes) &&
    UNKNOWN_TYPES.every((key) => !filters.has(key)) &&
    NAMED_TYPES.every((key) => filters.any(key, (value) => matchesName(event, key, value)))
  );
}

/**
 * By id or by name, or by a beginning of either; an image in full or without its tag. Containers are also found by image
 * and by node, and named with their node. Source: moby daemon/events/filter.go.
 */
function matchesName(event: ClusterEvent, key: (typeof NAMED_TYPES)[number], value: string): boolean {
  const { type, id, attributes } = event;
  const { name = '', image = '' } = attributes;
  if (key === 'image' && type === 'container') return isImage(image, value);
  if (key === 'image' && type === 'image') return isImage(id, value) || isImage(name, value);
  if (key === 'node' && type === 'container') return nodeOf(event).includes(value);
  if (type !== key) return false;
  const names = [id, name, ...(type === 'container' ? nodeOf(event).map((node) => `${node}/${name}`) : [])];
  return names.some((known) => known.startsWith(value));
}

const nodeOf = ({ attributes }: ClusterEvent): string[] =>
  [attributes['node.name'], attributes['node.id']].filter((node) => node !== undefined);

const isImage = (known: string, value: string): boolean =>
  known === value || known.replace(/:[^:/]*$/, '') === value;

const scopeOf = ({ type, isLocal }: ClusterEvent): string =>
  SWARM_TYPES.has(type) && !isLocal ? 'swarm' : 'local';

/** One JSON object on a line. Nanoseconds do not fit a number of JavaScript's, so they are written as text. */
function eventLine(event: ClusterEvent): string {
  const { type, action, id, attributes, atMs } = event;
  const old =
    type === 'container'
      ? { status: action, id, from: attributes.image ?? '' }
      : type === 'image'
        ? { status: action, id }
        : {};
  const body = {
    ...old,
    Type: type,
    Action: action,
    Actor: { ID: id, Attributes: attributes },
    scope: scopeOf(event),
    time: Math.floor(atMs / 1_000),
  };
  const nanos = `${BigInt(Math.round(atMs)) * 1_000_000n}`;
  return `${JSON.stringify(body).slice(0, -1)},"timeNano":${nanos}}\n`;
}
