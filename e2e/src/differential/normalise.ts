import type { Leaves } from './transcript.js';

/** What two engines cannot have in common although both are right, and what is compared in its place. */
interface Normalisation {
  readonly why: string;
  readonly pattern: RegExp;
  readonly becomes: string;
  /** Only of leaves whose path this is. Left out: wherever the text has it. */
  readonly at?: RegExp;
}

/** The reviewed list, in the order in which it is applied. */
export const NORMALISATIONS: readonly Normalisation[] = [
  {
    why: 'where the test keeps the data of its hosts',
    pattern: /\/tmp\/tessera-lab-[a-z0-9]+\/host\d/g,
    becomes: '<host>',
  },
  {
    why: 'where an engine keeps volumes',
    pattern: /<host>\/data\/docker\/volumes/g,
    becomes: '<host>/data/volumes',
  },
  {
    why: "content digests: images of the test hold the machine's own busybox",
    pattern: /sha256:[0-9a-f]{64}/g,
    becomes: '<digest>',
  },
  { why: 'ids are random', pattern: /\b[0-9a-f]{64}\b/g, becomes: '<id>' },
  {
    why: 'the same, shortened as the client prints them',
    pattern: /\b[0-9a-f]{12}\b/g,
    becomes: '<short id>',
  },
  {
    why: 'times; the zero time is no time and stays',
    pattern: /(?!0001-01-01)\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( [A-Z]{3})?)?/g,
    becomes: '<time>',
  },
  {
    why: 'ages, as the client prints them',
    pattern: /\b(About )?(Less than )?(an?|\d+) (second|minute|hour|day|week|month|year)s?( ago)?\b/g,
    becomes: '<age>',
  },
  {
    why: 'seconds since 1970',
    pattern: /^1[6-9]\d{8}(\d{9})?$/,
    becomes: '<time>',
    at: /\.(Created|time|timeNano)$/,
  },
  { why: 'hardware addresses', pattern: /\b02:42(:[0-9a-f]{2}){4}\b/g, becomes: '<mac>' },
  {
    why: "addresses on the node's bridge: each engine has a pool of its own",
    pattern: /\b(172\.(1[6-9]|2\d|3[01])|10\.\d+)\.\d+\.\d+\b/g,
    becomes: '<address>',
  },
  {
    why: 'the same, as the path of the image',
    pattern: /(Pulling from )(ours|docker)\//g,
    becomes: '$1',
  },
  { why: 'where the client is started', pattern: /\/tmp\/differential-[a-zA-Z0-9]+/g, becomes: '<here>' },
  { why: 'process ids', pattern: /^[1-9]\d*$/, becomes: '<pid>', at: /\.Pid$/i },
  {
    why: 'processors of the machine',
    pattern: /to \d+\.00, as there are only \d+ CPUs/g,
    becomes: 'to <n>, as there are only <n> CPUs',
  },
  {
    why: 'ports given by chance',
    pattern: /^(3[2-9]|[45]\d|6[0-5])\d{3}$/,
    becomes: '<port>',
    at: /\.(HostPort|PublicPort)$/,
  },
  {
    why: 'ports given by chance, as the client prints them',
    pattern: /(\]|\.\d+|<address>):(3[2-9]|[45]\d|6[0-4])\d{3}\b/g,
    becomes: '$1:<port>',
  },
  {
    why: 'the registry keeps the engines apart by a path',
    pattern: /<address>:5000\/[a-z0-9]+/g,
    becomes: 'REGISTRY',
  },
  {
    why: "sizes of the machine's own busybox",
    pattern: /^\d{5,}$/,
    becomes: '<bytes>',
    at: /\.(Size|VirtualSize|SizeRootFs|SharedSize|LayersSize)$/,
  },
];

export function normalised(leaves: Leaves): Leaves {
  return Object.fromEntries(
    Object.entries(leaves).map(([at, value]) => [normaliseText(at, ''), normaliseValue(value, at)]),
  );
}

function normaliseValue(value: unknown, at: string): unknown {
  if (typeof value !== 'string' && typeof value !== 'number') return value;
  const text = normaliseText(String(value), at);
  return text === String(value) ? value : text;
}

const normaliseText = (text: string, path: string): string =>
  NORMALISATIONS.reduce(
    (result, { pattern, becomes, at }) => (at && !at.test(path) ? result : result.replace(pattern, becomes)),
    text,
  );
